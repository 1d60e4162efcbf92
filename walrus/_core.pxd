"""The handle of an open log, and what the other handles share: entering and leaving a call, waiting with an eye on
signals.

Layer: the Python border. With the GIL unless a function says nogil.
"""
from walrus._libc cimport uint32_t, uint64_t, walrus_load32, walrus_load64
from walrus._log_state cimport SCHEDULE_EACH, Log
from walrus._topics cimport Topic

cdef class LogHandle:
    cdef Log *log                   # valid as long as this object lives; NULL: never opened
    cdef readonly str path
    cdef bint closing               # set with the GIL held: appends that hold it see it before the engine closes
    cdef uint64_t room_wait_ns      # how long an append waits for room; 2^64 - 1: for ever
    cdef set interrupted            # idents of threads whose signal handlers run in the middle of a call
    cdef object __weakref__

    # Begins a call that may let go of the GIL: close() waits for it. Ended by leave(). Raises ClosedError, ForkedError.
    cdef int enter(self, object doing) except -1
    cdef void leave(self) noexcept
    # Runs signal handlers, in the middle of a call. What they raise is raised; close() refuses to wait for that call.
    cdef int check_signals(self) except -1
    # Is this a signal handler in the middle of a call of its thread?
    cdef bint in_handler(self) except -1
    # What was appended before is durable when it returns. An exception carries a note that names topic and offset.
    cdef int make_durable(self, object doing, object topic, object offset, Topic *appended, uint64_t end,
                          uint64_t stamp) except -1
    cdef uint64_t deadline(self, object timeout) except? 0      # of an append: CLOCK_MONOTONIC, 0 for ever
    # The topic, made if `create`; NULL where there is none. Between enter() and leave().
    cdef Topic *find(self, bytes name, bint create) except? NULL

# Tries for about 50 ms. True: the lock is held.
cdef bint lock_slice(uint32_t *lock) noexcept nogil

# Where reading ends: what is durable on a log that promises that what is read stays; else what was published.
cdef inline bint only_durable(Log *log) noexcept nogil:
    return log.options.schedule == SCHEDULE_EACH or walrus_load32(&log.failure.set) != 0

# What was read before it changed may have been truncated since.
cdef inline uint64_t cuts(Log *log) noexcept nogil:
    return walrus_load64(&log.catalog.epoch)

cdef inline uint64_t readable_end(Log *log, Topic *topic) noexcept nogil:
    if only_durable(log):
        return walrus_load64(&topic.durable)
    return walrus_load64(&topic.end)
