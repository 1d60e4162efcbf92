"""Reopening the control table: cursors' slot pairs of an earlier open, what its writer told other processes, and what
they see from now on.

Layer: the log. Opening alone; one thread.
"""
from walrus._findings cimport Findings
from walrus._snapshot_format cimport SnapshotHead

# Opens it; cursors' values that are newer than the catalog's, and ends that a killed writer had published, as claims.
# 0 or a negative code.
cdef int reopen_control(Findings *findings, const SnapshotHead *head) noexcept nogil
# After the merge: cursors stand between the low watermark and the end. 0.
cdef int reopen_cursors(Findings *findings) noexcept nogil
# After the snapshot is flushed: slots for every cursor and topic, and the log is open to other processes. 0 or a
# negative errno.
cdef int reopen_sharing(Findings *findings) noexcept nogil
