"""Codes of the engine become exceptions: the one place.

Layer: the Python border. With the GIL.
"""
from walrus._libc cimport int64_t, uint32_t, uint64_t
from walrus._log_state cimport Log
from walrus._read cimport ReadFailure
from walrus._topics cimport Topic

# Raises what `code` means while `doing` something ("append", "sync", ...); topic and offset may be None. Always -1.
cdef int raise_code(Log *log, int code, object doing, object topic, object offset) except -1
# A code that came of reading the topic `name` (state: NULL where it does not exist) from `offset` on; failure may be
# NULL.
cdef int raise_read(Log *log, Topic *state, ReadFailure *failure, int code, object name, uint64_t offset) except -1
# Why log_open() did not open `path`.
cdef int raise_open(Log *log, int code, object path, int64_t holder) except -1
cdef int raise_range(Log *log, Topic *state, object name, uint64_t offset) except -1
# The slot of cursor `name` (None: the shared one) of `topic` does not validate.
cdef int raise_cursor(Log *log, object topic, object name) except -1
# Another process, `pid` if that is known (else 0), owns cursor `name`.
cdef int raise_cursor_in_use(object path, object topic, object name, uint32_t pid) except -1
cdef int raise_at_close(Log *log, int code) except -1
# A signal handler in the middle of a call would wait for that call of its own thread.
cdef int raise_reentered(Log *log, object doing, object topic) except -1
cdef int raise_closed(Log *log) except -1
