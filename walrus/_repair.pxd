"""Repair of one topic: which files to keep a copy of, and the holes accepted.

Layer: the log. Any thread, without the GIL.
"""
from walrus._libc cimport uint32_t
from walrus._log_state cimport Log
from walrus._logfiles cimport LogFile
from walrus._topics cimport Topic

cdef enum:
    REPAIR_FILES_MAX = 256

# Files that hold what lies before, in and behind the topic's damaged ranges, each once and pinned; how many (at most `room`).
cdef uint32_t repair_files(Topic *topic, LogFile **files, uint32_t room) noexcept nogil
cdef void repair_unpin(LogFile **files, uint32_t count) noexcept nogil
# The damaged ranges are holes from now on, the topic takes appends behind its end: changes of the catalog, durable with the next
# sync. 0 or -ENOMEM. Doing it again is harmless.
cdef int repair_accept(Log *log, Topic *topic) noexcept nogil
