"""Salvage: frames of extents and records whose header is damaged, found by their own checksums.

Layer: the log. Opening alone; one thread.
"""
from walrus._findings cimport Findings
from walrus._scan cimport Window

# The frames in the gaps that were found so far, of every topic where a gap is proven to be damage, else of those that miss
# what was promised (topic.suspect). 0, -ENOMEM.
cdef int salvage(Findings *findings, Window *window) noexcept nogil
