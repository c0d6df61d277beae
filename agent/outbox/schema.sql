-- The outbox, schema version 2. One file, write-ahead log, one writer.
--
-- Lines are kept as blocks of columns (`sqlite/blocks.py`), one class of lines in a block. What is
-- known of a block and its columns lie apart, so that opening a large file reads little of it.
-- All that changes with every commit is one row, `state`, so that a commit touches few pages: who
-- has which line, the ledger, rates (`sqlite/book.py`, `sqlite/commit.py` write it).
--
-- Blocks below are named; `sql.py` reads them by name.

-- name: settings
-- Of every connection that writes. FULL makes a commit wait for the disk. Small pages make small
-- commits: a commit of one block is 4 to 6 of them. When the log is put into the file is decided
-- in `sqlite/file.py`. Debian's SQLite would overwrite what is deleted with zeros: draining would
-- wear the disk as much as filling does.
PRAGMA secure_delete = OFF;
PRAGMA page_size = 1024;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 8388608;
PRAGMA cache_size = -4096;

-- name: create
-- Everything a new file holds.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE state (                   -- its only row has id 1
    id INTEGER PRIMARY KEY,
    crc INTEGER NOT NULL,              -- CRC-32 of document, as of every blob below
    document BLOB NOT NULL             -- JSON, deflated
);
CREATE TABLE signal (id INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE block (
    first INTEGER PRIMARY KEY,         -- ids of its lines: first..last
    last INTEGER NOT NULL,
    class INTEGER NOT NULL,            -- 0 raw samples and the gateway's, 1 windows, 2 ready
    made_ns INTEGER NOT NULL,          -- when they were staged, UTC
    from_ns INTEGER NOT NULL,          -- of windows the lowest and highest start
    to_ns INTEGER NOT NULL,
    bytes INTEGER NOT NULL,            -- of its columns
    crc INTEGER NOT NULL
);
CREATE TABLE columns (first INTEGER PRIMARY KEY, columns BLOB NOT NULL);
CREATE TABLE journal (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, blob BLOB NOT NULL);
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, blob BLOB NOT NULL);
CREATE TABLE dead_letter (             -- the newest, to be looked at; their counts are in `state`
    id INTEGER PRIMARY KEY,
    sink TEXT NOT NULL,
    line_id INTEGER NOT NULL,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    line BLOB NOT NULL
);

-- name: is_empty
SELECT count(*) = 0 FROM sqlite_master;

-- name: meta
SELECT key, value FROM meta;

-- name: put_meta
INSERT INTO meta VALUES (?, ?);

-- name: state
SELECT crc, document FROM state;

-- name: put_state
INSERT OR REPLACE INTO state VALUES (1, ?, ?);

-- name: signals
SELECT id, document FROM signal ORDER BY id;

-- name: put_signal
INSERT OR REPLACE INTO signal VALUES (?, ?);

-- name: blocks
SELECT first, last, class, made_ns, from_ns, to_ns, bytes FROM block ORDER BY first;

-- name: put_block
INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_columns
INSERT INTO columns VALUES (?, ?);

-- name: columns
SELECT crc, columns FROM block JOIN columns USING (first) WHERE first = ?;

-- name: delete_block
DELETE FROM block WHERE first = ?;

-- name: delete_columns
DELETE FROM columns WHERE first = ?;

-- name: oldest
SELECT made_ns FROM block ORDER BY first LIMIT 1;

-- name: checkpoint
SELECT crc, blob FROM checkpoint;

-- name: put_checkpoint
INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?);

-- name: delete_checkpoint
DELETE FROM checkpoint;

-- name: journal
SELECT crc, blob FROM journal ORDER BY id;

-- name: put_journal
INSERT INTO journal (crc, blob) VALUES (?, ?);

-- name: delete_journal
DELETE FROM journal;

-- name: put_dead_letter
INSERT INTO dead_letter (sink, line_id, cause, reason, line) VALUES (?, ?, ?, ?, ?);

-- name: dead_letters
SELECT sink, line_id, cause, reason, line FROM dead_letter
WHERE :sink IS NULL OR sink = :sink ORDER BY id;

-- name: bound_dead_letters
DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - ?;

-- name: used
-- Bytes in use, without pages that are free to be used again.
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size;
