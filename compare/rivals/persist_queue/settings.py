"""persist-queue, set up as its README advises: the SQLite queues are the fast and safe ones (WAL mode), multithreading
on."""

# README: FIFOSQLiteQueue keeps what was read until it is committed; auto_commit=False commits by task_done(), which is
# faster.
# Durable appends and strict reading commit each; where nothing is synced it commits each put too, for what was put must
# outlive a
# killed process. persist-queue opens SQLite with synchronous at its default (FULL): it has no option for less.
AUTO_COMMIT = True
COMMIT_EVERY = 1000  # of AtLeastOnce
