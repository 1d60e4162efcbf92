"""Sync: one leader gathers the new frames of all dirty topics and the pending changes into the journal, waits for extents in
flight, flushes, publishes; who arrives meanwhile is in the next one.

Layer: the log. Any thread, without the GIL. The I/O thread leads by the schedule Milliseconds.
"""
from walrus._libc cimport uint64_t
from walrus._log_state cimport Log

# Number of the first sync to begin after now: what was appended before the call is durable when it has finished.
cdef uint64_t sync_ticket(Log *log) noexcept nogil
# Leads or waits until sync `ticket` has finished: 0, LOG_POISONED, LOG_FULL, LOG_CLOSED; LOG_INTERRUPTED after each slice of
# waiting; LOG_TIMEOUT at deadline_ns (CLOCK_MONOTONIC, 0: for ever).
cdef int sync_wait(Log *log, uint64_t ticket, uint64_t deadline_ns) noexcept nogil
# The I/O thread's way: leads one sync now if nobody leads; 0 also when there was nothing to do.
cdef int sync_by_iothread(Log *log) noexcept nogil
