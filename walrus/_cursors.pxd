"""Cursors: durable read positions, each in a pair of slots of the control file and in the journal.

Layer: places. Byte tables of the control file: head of _control.pyx. cursor.lock guards position; the committed value
and its stamp change under catalog.lock. Order: cursor.lock < catalog.lock.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._topics cimport Cursor, Topic, TopicTable
from walrus._catalog cimport Catalog

cdef Cursor *cursor_find(Topic *topic, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil
# Finds it, or makes it at the topic's low watermark (no change of the catalog until it commits). NULL: out of memory.
cdef Cursor *cursor_enter(Topic *topic, Catalog *catalog, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil
# Persists `value`: slot pair of the control file (SIGKILL-safe on return), pending change for the next sync. The first
# one makes this process the cursor's owner. 0, -EAGAIN: another process owns it; -errno.
cdef int cursor_commit(Cursor *cursor, Catalog *catalog, uint64_t value) noexcept nogil
# A truncation: it stands at `end` at most, whoever owns it. 0 or -errno.
cdef int cursor_set_back(Cursor *cursor, Catalog *catalog, uint64_t end) noexcept nogil
cdef uint64_t cursors_lowest(Topic *topic) noexcept nogil                    # lowest committed; 2^64 - 1 if there is none
# Opening: takes over what the control file has of cursors: newer values than the catalog's, cursors that it does not know
# yet, damage (where `trusted`: the file is of this boot, or was closed cleanly). 0 or -ENOMEM.
cdef int cursors_adopt(TopicTable *topics, Catalog *catalog, bint trusted) noexcept nogil
# A sync: values that reader processes stored become changes of the catalog.
cdef int cursors_absorb(TopicTable *topics, Catalog *catalog) noexcept nogil
