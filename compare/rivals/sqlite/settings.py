"""SQLite, through Python's own module, set up as sqlite.org advises for many small writes."""

# https://sqlite.org/wal.html: WAL is faster in most cases and lets readers go on beside the writer.
PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA temp_store=MEMORY", "PRAGMA cache_size=-65536")
# WAL with FULL flushes at each commit; NORMAL flushes at checkpoints only, so that a power cut may lose commits but a
# killed
# process none: the counterpart of an append that is not synced.
SYNCHRONOUS = {"none": "NORMAL", "interval": "NORMAL", "each": "FULL"}
# One table ordered by topic and number; WITHOUT ROWID keeps one tree instead of two.
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entry (topic INTEGER, number INTEGER, data BLOB, PRIMARY KEY (topic, number)) "
    "WITHOUT ROWID"
)
SCHEMA_CURSOR = "CREATE TABLE IF NOT EXISTS cursor (topic INTEGER PRIMARY KEY, number INTEGER)"
READ_ROWS = 2000  # as many entries a call as a log gives
PERSIST_EVERY = 1000
