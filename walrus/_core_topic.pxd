"""The handle of a topic: appending.

Layer: the Python border.
"""
from walrus._append cimport AppendRequest
from walrus._core cimport LogHandle
from walrus._core_gather cimport Gathered
from walrus._libc cimport uint64_t
from walrus._log_state cimport Log
from walrus._read cimport Reader
from walrus._topics cimport Topic

cdef class TopicHandle:
    cdef readonly LogHandle log
    cdef Log *state                 # log.log
    cdef Topic *topic               # NULL until it exists; stays as long as the log
    cdef bytes encoded
    cdef Reader *reader             # of the last read_batch(), for one that goes on where it ended; NULL while it is in use
    cdef readonly str name

    # Between log.enter() and log.leave(): is there such a topic by now?
    cdef bint exists(self) except -1
    cdef object append_buffer(self, object data, object timeout)
    cdef object append_gathered(self, Gathered batch, object timeout)
    cdef uint64_t write(self, AppendRequest *request, uint64_t deadline_ns) except? 0

# 1 to 1,024 bytes of UTF-8, else ValueError (TypeError: not a str). `what` begins the message.
cdef bytes encoded_name(object name, str what)
