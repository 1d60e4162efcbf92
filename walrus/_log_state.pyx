"""The state of one open log: how it is poisoned, and when nothing may be done any more.

A failed write or flush poisons the log once and for all: the first failure is kept, every waiter is woken, appends are
refused, reads of what is durable go on. A full disk is a state (log.full), not poison.
"""
from walrus._libc cimport (uint32_t, walrus_add32, walrus_exchange32, walrus_futex_wake, walrus_load32)
from libc.string cimport strncpy


cdef int log_fail(Log *log, int code, const char *what, const char *file) noexcept nogil:
    if walrus_exchange32(&log.failure.set, 1) == 0:
        log.failure.code = code
        strncpy(log.failure.what, what, sizeof(log.failure.what) - 1)
        strncpy(log.failure.file, file, sizeof(log.failure.file) - 1)
        walrus_add32(&log.failure.told, 1)
    log_wake_all(log)
    return LOG_POISONED


cdef void log_wake_all(Log *log) noexcept nogil:
    walrus_add32(&log.complete_word, 1)
    walrus_futex_wake(&log.complete_word, 0x7FFFFFFF, 0)
    walrus_add32(&log.sync_word, 1)
    walrus_futex_wake(&log.sync_word, 0x7FFFFFFF, 0)
    walrus_add32(&log.staging.room_word, 1)
    walrus_futex_wake(&log.staging.room_word, 0x7FFFFFFF, 0)


cdef int log_check(Log *log) noexcept nogil:
    if walrus_load32(&log.forked):
        return LOG_FORKED
    if walrus_load32(&log.closed):
        return LOG_CLOSED
    if walrus_load32(&log.failure.set):
        return LOG_POISONED
    return 0


cdef void files_complete_wake(Log *log) noexcept nogil:
    walrus_add32(&log.complete_word, 1)
    if walrus_load32(&log.complete_waiters):
        walrus_futex_wake(&log.complete_word, 0x7FFFFFFF, 0)


cdef int log_enter(Log *log) noexcept nogil:
    if walrus_load32(&log.forked):
        return LOG_FORKED
    walrus_add32(&log.users, 1)
    if walrus_load32(&log.closed):
        log_leave(log)
        return LOG_CLOSED
    return 0


cdef void log_leave(Log *log) noexcept nogil:
    if walrus_add32(&log.users, <uint32_t>-1) == 0 and walrus_load32(&log.closed):
        log_wake_all(log)
