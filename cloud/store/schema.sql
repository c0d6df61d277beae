-- The tables of the cloud. A NOT NULL column of type VARCHAR is a tag, a nullable column a field:
-- the writer learns the shape of each measurement from here and nowhere else. All tables are
-- append-only: `arrival` rises with every row written, and the `_newest` views choose between rows
-- of one identity (tags and time).

-- name: tables
-- One typed table for each measurement of the contract, `other` for everybody else's.
CREATE TABLE IF NOT EXISTS machine (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, time_ns BIGINT NOT NULL,
    arrival BIGINT NOT NULL,
    model VARCHAR, order_in_line BIGINT, asset_id VARCHAR, ideal_cycle_s DOUBLE
);
CREATE TABLE IF NOT EXISTS signal (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, signal VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    kind VARCHAR, unit VARCHAR, low DOUBLE, high DOUBLE, grade VARCHAR, node VARCHAR,
    description VARCHAR
);
CREATE TABLE IF NOT EXISTS "window" (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, signal VARCHAR NOT NULL,
    every VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    n BIGINT, good DOUBLE, mean DOUBLE, std DOUBLE, "min" DOUBLE, "max" DOUBLE,
    "first" DOUBLE, "last" DOUBLE, increase DOUBLE, rev BIGINT
);
CREATE TABLE IF NOT EXISTS anomaly (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, signal VARCHAR NOT NULL,
    detector VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    id VARCHAR, severity VARCHAR, score DOUBLE, value DOUBLE, expected DOUBLE,
    low DOUBLE, high DOUBLE, ended_ns BIGINT, message VARCHAR, contributors VARCHAR
);
CREATE TABLE IF NOT EXISTS sample (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, signal VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    value DOUBLE, text VARCHAR, status BIGINT
);
CREATE TABLE IF NOT EXISTS state (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, time_ns BIGINT NOT NULL,
    arrival BIGINT NOT NULL,
    state VARCHAR, reason VARCHAR, duration_s DOUBLE, energy_kwh DOUBLE
);
CREATE TABLE IF NOT EXISTS cycle (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, station VARCHAR NOT NULL DEFAULT '1',
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    unit VARCHAR, product VARCHAR, "order" VARCHAR, verdict VARCHAR, attempt BIGINT,
    duration_s DOUBLE, ideal_s DOUBLE, energy_kwh DOUBLE, inputs VARCHAR
);
CREATE TABLE IF NOT EXISTS cycle_value (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    line VARCHAR NOT NULL, machine VARCHAR NOT NULL, station VARCHAR NOT NULL DEFAULT '1',
    signal VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    mean DOUBLE, "min" DOUBLE, "max" DOUBLE, deviation DOUBLE
);
CREATE TABLE IF NOT EXISTS gateway (
    enterprise VARCHAR NOT NULL, site VARCHAR NOT NULL, area VARCHAR NOT NULL,
    gateway VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    received BIGINT, derived BIGINT, filtered BIGINT, dropped BIGINT, pending BIGINT,
    made BIGINT, acknowledged BIGINT, waiting BIGINT, replaced BIGINT, dead_letter BIGINT,
    balanced BOOLEAN, outbox_bytes BIGINT, lag_ms DOUBLE, version VARCHAR, signals BIGINT
);

-- name: foreign_tables
-- Measurements and fields that are not in the contract: one row per field, the value in the column
-- of its type. `tags` is a JSON object with sorted keys. `other_field` remembers each field's first
-- type, as InfluxDB does.
CREATE TABLE IF NOT EXISTS other (
    measurement VARCHAR NOT NULL, tags VARCHAR NOT NULL, field VARCHAR NOT NULL,
    time_ns BIGINT NOT NULL, arrival BIGINT NOT NULL,
    float DOUBLE, "integer" BIGINT, unsigned UBIGINT, "boolean" BOOLEAN, string VARCHAR
);
CREATE TABLE IF NOT EXISTS other_field (
    measurement VARCHAR NOT NULL, field VARCHAR NOT NULL, kind VARCHAR NOT NULL
);

-- name: outbox_tables
-- What has been received from each outbox: closed intervals of line ids (JSON), in `received` those
-- of ids that came or are void, in `void` the void ones alone; the rest as `Received` names it.
CREATE TABLE IF NOT EXISTS outbox (
    outbox VARCHAR PRIMARY KEY, received VARCHAR NOT NULL, repeats BIGINT NOT NULL,
    holes_forgotten BIGINT NOT NULL, gateway VARCHAR
);

-- name: later_columns
-- Columns that came after the first version, for databases new and old.
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS retimed BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS missed BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS recovered BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS lines_dropped BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS withheld BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS outbox_bytes_max BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS hours_left DOUBLE;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS oldest_s DOUBLE;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS clock_steps BIGINT;
ALTER TABLE gateway ADD COLUMN IF NOT EXISTS certificate_days BIGINT;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS void VARCHAR DEFAULT '[]';
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS void_forgotten BIGINT DEFAULT 0;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS forgotten_last BIGINT DEFAULT 0;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS window_end_ns BIGINT;
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS written_ns BIGINT;

-- name: views
-- Newest wins. A window is replaced whole by the highest revision. Of other identities each field
-- keeps its newest value, as in InfluxDB: writing `ended_ns` to an anomaly leaves its other fields
-- alone. Of an anomaly, lines that tell its end come before those that do not: they were made
-- later, but may arrive first, as a backlog is sent beside the live lines. `identity` (with the
-- time) orders rows and names where a page ended; its parts are joined by the unit separator.
CREATE OR REPLACE VIEW window_newest AS
SELECT *, concat_ws(chr(31), enterprise, site, area, line, machine, signal, every) AS identity
FROM "window"
QUALIFY row_number() OVER (
    PARTITION BY enterprise, site, area, line, machine, signal, every, time_ns
    ORDER BY coalesce(rev, 0) DESC, arrival DESC
) = 1;
CREATE OR REPLACE VIEW anomaly_newest AS
SELECT
    enterprise, site, area, line, machine, signal, detector, time_ns, max(arrival) AS arrival,
    concat_ws(chr(31), enterprise, site, area, line, machine, signal, detector) AS identity,
    arg_max(id, made) AS id, arg_max(severity, made) AS severity, arg_max(score, made) AS score,
    arg_max(value, made) AS value, arg_max(expected, made) AS expected, arg_max(low, made) AS low,
    arg_max(high, made) AS high, arg_max(ended_ns, made) AS ended_ns,
    arg_max(message, made) AS message, arg_max(contributors, made) AS contributors
FROM (SELECT *, row(ended_ns IS NOT NULL, arrival) AS made FROM anomaly) GROUP BY ALL;
CREATE OR REPLACE VIEW sample_newest AS
SELECT
    enterprise, site, area, line, machine, signal, time_ns, max(arrival) AS arrival,
    concat_ws(chr(31), enterprise, site, area, line, machine, signal) AS identity,
    arg_max(value, arrival) AS value, arg_max(text, arrival) AS text,
    arg_max(status, arrival) AS status
FROM sample GROUP BY ALL;
