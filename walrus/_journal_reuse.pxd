"""Reuse of journal files: when the next one of the ring may be overwritten, and what has to be done first.

Layer: the log. The I/O thread, or a sync that it leads.
"""
from walrus._libc cimport uint32_t
from walrus._log_state cimport Log

# Makes journal file `index` ready to be overwritten: 0, LOG_FULL, LOG_POISONED.
cdef int journal_prepare(Log *log, uint32_t index) noexcept nogil
# A snapshot now. 0, LOG_FULL (no room for a larger slot), LOG_POISONED.
cdef int snapshot_take(Log *log, uint32_t flags) noexcept nogil
