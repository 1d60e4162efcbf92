"""Write-back: sealed chunks become extents of the current log file, and when those are in place, memory and places.

Layer: the log. The I/O thread only, but for writeback_wait.
"""
from walrus._libc cimport int64_t, uint64_t
from walrus._log_state cimport Log

# Takes what is queued, as far as flights and files allow, and submits it. 0, or LOG_POISONED.
cdef int writeback_submit(Log *log) noexcept nogil
# Completions: waits up to timeout_ns for one. How many extents were completed.
cdef int writeback_reap(Log *log, int64_t timeout_ns) noexcept nogil
# Waits until every chunk sealed up to `sequence` is in place. The I/O thread (by_iothread) works meanwhile, others sleep.
# 0, LOG_POISONED, LOG_FULL (no space for a log file).
cdef int writeback_wait(Log *log, uint64_t sequence, bint by_iothread) noexcept nogil
# Seals open chunks: all of them; those with frames in journal files of use number up to `use`; the oldest while they hold
# too much.
cdef void seal_all(Log *log) noexcept nogil
cdef void seal_journaled(Log *log, uint64_t use) noexcept nogil
cdef void seal_cold(Log *log) noexcept nogil
