-- Questions to the database, by name. Parameters that are NULL do not filter. Ranges are half-open.
-- Pages go by (time, identity); `identity` is their last column.

-- name: last_arrival
-- The newest arrival number in any table; numbering goes on from there after a restart.
SELECT coalesce(max(arrival), 0) FROM (
    SELECT max(arrival) AS arrival FROM machine UNION ALL SELECT max(arrival) FROM signal
    UNION ALL SELECT max(arrival) FROM "window" UNION ALL SELECT max(arrival) FROM anomaly
    UNION ALL SELECT max(arrival) FROM sample UNION ALL SELECT max(arrival) FROM state
    UNION ALL SELECT max(arrival) FROM cycle UNION ALL SELECT max(arrival) FROM cycle_value
    UNION ALL SELECT max(arrival) FROM gateway UNION ALL SELECT max(arrival) FROM other
);

-- name: columns
-- The shape of every table, in the order of its columns.
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal
  AND table_name IN (SELECT table_name FROM duckdb_tables())
ORDER BY table_name, column_index;

-- name: foreign_fields
-- The type each field of a foreign measurement was first written with.
SELECT measurement, field, kind FROM other_field;

-- name: outboxes
-- Everything known about every outbox.
SELECT * FROM outbox;

-- name: put_outbox
-- Replaces what is known about one outbox.
INSERT OR REPLACE INTO outbox BY NAME
SELECT
    $outbox AS outbox, $received AS received, $repeats AS repeats,
    $holes_forgotten AS holes_forgotten, $gateway AS gateway, $void AS void,
    $void_forgotten AS void_forgotten, $forgotten_last AS forgotten_last,
    $window_end_ns AS window_end_ns, $written_ns AS written_ns;

-- name: windows
-- Newest revision of each window whose start lies in [from, to), oldest first.
SELECT * EXCLUDE (arrival, identity), identity FROM window_newest
WHERE ($from_ns IS NULL OR time_ns >= $from_ns) AND ($to_ns IS NULL OR time_ns < $to_ns)
  AND ($site IS NULL OR site = $site) AND ($area IS NULL OR area = $area)
  AND ($line IS NULL OR line = $line) AND ($machine IS NULL OR machine = $machine)
  AND ($signal IS NULL OR signal = $signal) AND ($every IS NULL OR every = $every)
  AND ($after_ns IS NULL OR (time_ns, identity) > ($after_ns, $after_identity))
ORDER BY time_ns, identity
LIMIT $rows;

-- name: samples
-- Samples whose time lies in [from, to), oldest first.
SELECT * EXCLUDE (arrival, identity), identity FROM sample_newest
WHERE ($from_ns IS NULL OR time_ns >= $from_ns) AND ($to_ns IS NULL OR time_ns < $to_ns)
  AND ($site IS NULL OR site = $site) AND ($area IS NULL OR area = $area)
  AND ($line IS NULL OR line = $line) AND ($machine IS NULL OR machine = $machine)
  AND ($signal IS NULL OR signal = $signal)
  AND ($after_ns IS NULL OR (time_ns, identity) > ($after_ns, $after_identity))
ORDER BY time_ns, identity
LIMIT $rows;

-- name: anomalies
-- Anomalies whose start lies in [from, to), newest first.
SELECT * EXCLUDE (arrival, identity), identity FROM anomaly_newest
WHERE ($from_ns IS NULL OR time_ns >= $from_ns) AND ($to_ns IS NULL OR time_ns < $to_ns)
  AND ($site IS NULL OR site = $site) AND ($area IS NULL OR area = $area)
  AND ($line IS NULL OR line = $line) AND ($machine IS NULL OR machine = $machine)
  AND ($signal IS NULL OR signal = $signal) AND ($open IS NULL OR (ended_ns IS NULL) = $open)
  AND ($after_ns IS NULL OR (time_ns, identity) < ($after_ns, $after_identity))
ORDER BY time_ns DESC, identity DESC
LIMIT $rows;

-- name: live_machines
-- For the board after a restart: the newest line of each machine.
SELECT * EXCLUDE (arrival) FROM machine
QUALIFY row_number() OVER (
    PARTITION BY enterprise, site, area, line, machine ORDER BY time_ns DESC, arrival DESC
) = 1 ORDER BY arrival;

-- name: live_signals
-- For the board: the newest line of each signal, in order of first sight.
SELECT * EXCLUDE (arrival, seen) FROM (
    SELECT *, min(arrival) OVER signals AS seen FROM signal
    WINDOW signals AS (PARTITION BY enterprise, site, area, line, machine, signal)
    QUALIFY row_number() OVER (
        PARTITION BY enterprise, site, area, line, machine, signal
        ORDER BY time_ns DESC, arrival DESC
    ) = 1
) ORDER BY seen;

-- name: live_windows
-- For the board: the newest window of each signal, however old it is, and with it at most $recent
-- that lie less than $span_ns before it.
WITH ends AS (
    SELECT
        enterprise, site, area, line, machine, signal, every,
        max(time_ns) AS newest_ns, min(arrival) AS seen
    FROM "window" GROUP BY ALL
), near AS (
    SELECT w.*, e.seen FROM "window" w
    JOIN ends e USING (enterprise, site, area, line, machine, signal, every)
    WHERE w.time_ns > e.newest_ns - $span_ns
    QUALIFY row_number() OVER (
        PARTITION BY enterprise, site, area, line, machine, signal, every, time_ns
        ORDER BY coalesce(rev, 0) DESC, w.arrival DESC
    ) = 1
)
SELECT * EXCLUDE (arrival, seen) FROM near
QUALIFY row_number() OVER (
    PARTITION BY enterprise, site, area, line, machine, signal, every ORDER BY time_ns DESC
) <= $recent
ORDER BY seen, time_ns;

-- name: live_anomalies
-- For the board: every open anomaly, and of each line the $ended that ended last.
SELECT * EXCLUDE (arrival, identity) FROM anomaly_newest
QUALIFY ended_ns IS NULL OR row_number() OVER (
    PARTITION BY enterprise, site, area, line, ended_ns IS NULL ORDER BY ended_ns DESC
) <= $ended
ORDER BY time_ns;

-- name: live_texts
-- For the board: the newest text of each signal.
SELECT * EXCLUDE (arrival) FROM sample WHERE text IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY enterprise, site, area, line, machine, signal ORDER BY time_ns DESC, arrival DESC
) = 1 ORDER BY arrival;

-- name: live_gateways
-- For the board: the newest line of each gateway.
SELECT * EXCLUDE (arrival) FROM gateway
QUALIFY row_number() OVER (
    PARTITION BY enterprise, site, area, gateway ORDER BY time_ns DESC, arrival DESC
) = 1 ORDER BY arrival;
