"""Opening, closing, topics by name, fork: the engine as the Python border and C see it.

Layer: the log.
"""
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log, LogOptions
from walrus._topics cimport Topic

cdef void log_options_default(LogOptions *options) noexcept nogil
# Opens the directory `path` (made if missing). *log is set even on failure (log.failure, lock holder's pid in *holder): free it
# with log_free. 0, LOG_LOCKED, LOG_CORRUPT, LOG_TOO_NEW, LOG_FOREIGN, LOG_NO_MEMORY, a negative errno.
cdef int log_open(const char *path, const LogOptions *options, Log **log, int64_t *holder) noexcept nogil
# Writes and flushes everything, takes the last snapshot, ends the thread, closes. The struct stays until log_free.
cdef int log_close(Log *log) noexcept nogil
# Ends thread and descriptors without flushing: a log that was poisoned, or that must not be touched (interpreter exit).
cdef void log_abort(Log *log) noexcept nogil
cdef void log_free(Log *log) noexcept nogil
# NULL and *code: LOG_NO_MEMORY or a negative errno; with create=False NULL and *code = 0 where there is none.
cdef Topic *log_topic(Log *log, const uint8_t *name, uint32_t name_bytes, bint create, int *code) noexcept nogil
