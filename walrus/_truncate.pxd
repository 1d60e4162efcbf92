"""Truncation of a topic to a frame's border: a catalog change under a new epoch, durable before anything is appended behind it.

Layer: the log. Any thread, without the GIL.
"""
from walrus._libc cimport uint64_t
from walrus._log_state cimport Log
from walrus._topics cimport Topic

# 0; LOG_OUT_OF_RANGE (below the low watermark, beyond the end, or not a frame's border); LOG_FULL; LOG_POISONED; ...
cdef int topic_truncate(Log *log, Topic *topic, uint64_t offset) noexcept nogil
