-- The outbox, schema version 1. One file, write-ahead log, one writer.
--
-- Lines are numbered from 1 without holes for the life of the file. They are kept as blocks of
-- columns (`blocks.py`); a sink's position is the last line it is done with; the floor is the last
-- line that every sink is done with, and blocks that end at or below it are deleted.
--
-- The journal of received samples comes with schema version 2, as a table `journal` of blocks with
-- numbers of their own, written in the transaction of `commit`; its position joins `checkpoint`.
--
-- Blocks below are named; `sql.py` reads them by name.

-- name: settings
-- Of every connection that writes. FULL makes a commit wait for the disk.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA journal_size_limit = 4194304;

-- name: create
-- Everything a new file holds.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE signal (id INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
CREATE TABLE block (
    last INTEGER PRIMARY KEY,          -- number of its last line
    first INTEGER NOT NULL,
    made_ns INTEGER NOT NULL,          -- when it was committed, UTC
    crc INTEGER NOT NULL,              -- CRC-32 of columns
    columns BLOB NOT NULL
);
CREATE TABLE sink (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,         -- done with all lines up to here
    acknowledged INTEGER NOT NULL DEFAULT 0,
    dead_letter INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE rejected (                -- lines above the floor that a sink rejected, each once
    line_id INTEGER PRIMARY KEY
);
CREATE TABLE dead_letter (             -- the newest of them, to be looked at
    id INTEGER PRIMARY KEY,
    sink TEXT NOT NULL,
    line_id INTEGER NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    line BLOB NOT NULL
);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    samples TEXT NOT NULL,             -- the samples' side, JSON
    made INTEGER NOT NULL,             -- also the number of the last line
    acknowledged INTEGER NOT NULL,
    replaced INTEGER NOT NULL,
    dead_letter TEXT NOT NULL,         -- by cause, JSON
    floor INTEGER NOT NULL
);
INSERT INTO ledger VALUES (1, '{}', 0, 0, 0, '{}', 0);

-- name: check
-- Reads the whole file; answers `ok`.
PRAGMA quick_check(1);

-- name: meta
SELECT key, value FROM meta;

-- name: put_meta
INSERT INTO meta VALUES (?, ?);

-- name: signals
SELECT id, document FROM signal ORDER BY id;

-- name: put_signal
INSERT OR REPLACE INTO signal VALUES (?, ?);

-- name: checkpoint
SELECT state FROM checkpoint;

-- name: put_checkpoint
INSERT OR REPLACE INTO checkpoint VALUES (1, ?);

-- name: put_block
INSERT INTO block VALUES (:last, :first, :made_ns, :crc, :columns);

-- name: blocks_after
-- Blocks with lines above a position, oldest first.
SELECT first, last, made_ns, crc, columns FROM block WHERE last > ? ORDER BY last;

-- name: oldest
SELECT made_ns FROM block WHERE last > (SELECT floor FROM ledger) ORDER BY last LIMIT 1;

-- name: ledger
SELECT samples, made, acknowledged, replaced, dead_letter, floor FROM ledger;

-- name: put_made
UPDATE ledger SET samples = ?, made = ?;

-- name: put_lines
UPDATE ledger SET acknowledged = ?, dead_letter = ?, floor = ?;

-- name: sinks
SELECT name, position, acknowledged, dead_letter FROM sink ORDER BY name;

-- name: sink
SELECT position, acknowledged, dead_letter FROM sink WHERE name = ?;

-- name: add_sink
-- A new sink starts with what is still stored.
INSERT OR IGNORE INTO sink (name, position) SELECT ?, floor FROM ledger;

-- name: forget_sink
DELETE FROM sink WHERE name = ?;

-- name: put_sink
UPDATE sink SET position = ?, acknowledged = ?, dead_letter = ? WHERE name = ?;

-- name: reject
INSERT OR IGNORE INTO rejected VALUES (?);

-- name: count_rejected
SELECT count(*) FROM rejected WHERE line_id > ? AND line_id <= ?;

-- name: forget_rejected
DELETE FROM rejected WHERE line_id <= ?;

-- name: put_dead_letter
INSERT INTO dead_letter (sink, line_id, cause, reason, line) VALUES (?, ?, ?, ?, ?);

-- name: dead_letters
SELECT sink, line_id, cause, reason, line FROM dead_letter
WHERE :sink IS NULL OR sink = :sink ORDER BY id;

-- name: bound_dead_letters
-- Keeps the newest; their counts go on in `ledger` and `sink`.
DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - ?;

-- name: trim
DELETE FROM block WHERE last <= ?;

-- name: used
-- Bytes in use, without pages that are free to be used again.
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size;
