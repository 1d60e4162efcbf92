"""View: a log that another process writes, read through its mapped staging and control files and its log files.

Layer: the log. No thread of its own; one call at a time per view (the caller's lock). Nothing here changes an entry: only cursors' slots and
the count of sleepers in the control file are written.
"""
from walrus._control cimport ControlCursor
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log
from walrus._read cimport Reader
from walrus._take cimport Taken
from walrus._topics cimport Topic

ctypedef struct View:
    Log log                         # its device, topics, places, chunks: as the reading functions want them; no thread, no lock
    uint64_t epoch                  # of the writer whose control file is mapped
    uint64_t control_inode
    uint64_t staging_inode
    uint64_t control_bytes          # that are mapped
    bint writable                   # cursors can be committed, and sleeping is by futex
    bint opened

# 0; -ENOENT: no log there; LOG_UNSETTLED: wait for its writer, then once more; LOG_FOREIGN, LOG_TOO_NEW, LOG_NO_MEMORY, a negative errno.
cdef int view_open(View *view, const char *path) noexcept nogil
cdef void view_close(View *view) noexcept nogil
# Is another writer taking over (other files, other epoch)? Then view_close and view_open, and what was read counts for nothing.
cdef bint view_stale(View *view) noexcept nogil
# Topics that are there by now.
cdef int view_topics(View *view) noexcept nogil
# The topic's offsets as of now; its staged frames if `staged`.
cdef void view_poll(View *view, Topic *topic) noexcept nogil
# All of it anew: staged chunks, log files.
cdef int view_refresh(View *view) noexcept nogil
# As take(), of what the writer has published by now (only what is durable where its schedule is SyncEach and not `uncommitted`).
# LOG_UNSETTLED: it was overtaken, by the writer or by a new one; try again.
cdef int view_take(View *view, Topic *topic, Reader *reader, uint64_t first, uint64_t max_bytes, uint32_t max_entries,
                   bint uncommitted, Taken *taken) noexcept nogil
# Offsets, and the end for readers: valid if the view is not stale afterwards.
cdef uint64_t view_end(View *view, Topic *topic, bint uncommitted) noexcept nogil
# The named cursor's slot, or NULL.
cdef ControlCursor *view_cursor(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes) noexcept nogil
# ... made if it is missing. 0, LOG_LOCKED: another process owns it; -EROFS: the control file cannot be written; a negative errno.
cdef int view_cursor_own(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes,
                         ControlCursor **slot) noexcept nogil
cdef int view_cursor_commit(View *view, ControlCursor *slot, uint64_t value) noexcept nogil
# Sleeps until something is published, at most timeout_ns.
cdef void view_sleep(View *view, int64_t timeout_ns) noexcept nogil
