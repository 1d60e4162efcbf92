"""Reopening files: log files and journal files of an earlier open, read and put into the state in which writing goes
on.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint32_t
from walrus._findings cimport Findings
from walrus._scan cimport Window
from walrus._snapshot_format cimport SnapshotFile, SnapshotHead
from walrus._survey cimport Survey

# The journal, flushed, then read: changes and frames to the findings. 0 or a negative code.
cdef int reopen_journal(Findings *findings, Window *window, const Survey *survey,
                        const SnapshotHead *head) noexcept nogil
# The log files: tables of those listed (`rows`), the others flushed and scanned. 0 or a negative code.
cdef int reopen_log_files(Findings *findings, Window *window, const Survey *survey, const SnapshotFile *rows,
                          uint32_t count) noexcept nogil
# Something promised is missing: what lies beyond the gaps of the files that were scanned. 0 or a negative code.
cdef int reopen_beyond(Findings *findings, Window *window) noexcept nogil
# After the merge: which file is filled next, which are full, which are spare. 0 or a negative errno.
cdef int reopen_states(Findings *findings) noexcept nogil
# Where the journal goes on.
cdef void reopen_ring(Findings *findings, const SnapshotHead *head) noexcept nogil
