"""Recovery: what opening reads, what it makes of it, and the one thing it writes.

Layer: the log. Runs alone (no other thread knows the log yet). Keeps the rules of Opening: open_waits (the lock),
open_flushes, open_prefix, open_clamps, epoch_new, epoch_durable.
"""
from walrus._log_state cimport Log

# The directory is locked and the device open. Fills catalog, topics, cursors, files, journal, staging; flushes the
# snapshot of the new epoch. 0, a negative errno, LOG_CORRUPT (log.failure names the file and says what), LOG_TOO_NEW
# ...
cdef int recover(Log *log) noexcept nogil
