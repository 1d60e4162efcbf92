"""Restore: topics, cursors, watermarks and epoch lists from the snapshot and from the changes behind it.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._findings cimport Findings
from walrus._snapshot_format cimport SnapshotFile
from walrus._topics cimport Cursor, Topic

# Everything in a snapshot that was checked; `rows`: its listed files. 0, or a negative code.
cdef int restore_snapshot(Findings *findings, const uint8_t *memory, const SnapshotFile **rows) noexcept nogil
# What the journal had beyond it, in the order of the stamps. 0, or a negative code.
cdef int restore_changes(Findings *findings) noexcept nogil
# The cursor of that id; entered if it is not there. NULL: out of memory.
cdef Cursor *restore_cursor(Findings *findings, Topic *topic, uint64_t id, uint32_t kind, const uint8_t *name,
                            uint32_t name_bytes) noexcept nogil
# Enters [first, end) into the topic's damaged ranges, joined with what it touches. 0 or -ENOMEM.
cdef int range_add(Topic *topic, uint64_t first, uint64_t end) noexcept nogil
