"""Salvage: frames of log files whose extent's header is damaged, found by their own checksums.

Layer: the log. Opening alone; one thread.
"""
from walrus._findings cimport Findings
from walrus._scan cimport Window

# For every topic that misses what was promised (topic.suspect): its frames in the files that were scanned, wherever they
# lie. 0, -ENOMEM.
cdef int salvage(Findings *findings, Window *window) noexcept nogil
