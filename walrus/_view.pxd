"""View: a log that another process writes, read through its mapped staging and control files and its log files.

Layer: the log. No thread of its own; one call at a time per view (the caller's lock). Nothing here changes an entry: only cursors' slots and
the mark of sleepers in the control file are written.
"""
from walrus._control cimport ControlCursor
from walrus._libc cimport uint8_t, uint32_t, uint64_t
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
# `control_fd`: of an earlier view of it, or -1: if it is of the control file that there is now it is used, so that its
# cursors stay owned; else it is closed.
cdef int view_open(View *view, const char *path, int control_fd) noexcept nogil
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
# Stores into it: makes it if it is missing, owns it from here on. 0; -EAGAIN: another process (*owner) owns it;
# LOG_OUT_OF_RANGE: beyond the end; -EROFS: the control file cannot be written; a negative errno. It counts if the view is
# not stale afterwards.
cdef int view_cursor_commit(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes, uint64_t value,
                            uint32_t *owner) noexcept nogil
# Before sleeping until something is published: the word, and what it must still be. False: the topic (NULL: none) has
# something at `position`.
cdef bint view_sleep_begin(View *view, Topic *topic, uint64_t position, bint uncommitted, uint32_t **word,
                           uint32_t *seen) noexcept nogil
