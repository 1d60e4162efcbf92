"""Catalog: one counter of stamps, the changes that the next sync takes to the journal, and the snapshot in two slots.

Layer: places. catalog.lock guards the counter, the pending changes and what they speak of (watermarks, cursors' committed
values, epoch lists): a snapshot serialises under it, so its stamp covers exactly what it holds.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._changes cimport Change
from walrus._control cimport Control
from walrus._snapshot_format cimport SnapshotWriter
from walrus._device cimport Device, DeviceFile
from walrus._topics cimport Topic, TopicTable
from walrus._logfiles cimport LogFiles
from walrus._journal cimport Journal

ctypedef struct Catalog:
    uint32_t lock
    uint8_t log_id[16]
    uint8_t boot_id[16]
    uint8_t staging_nonce[16]
    uint64_t epoch
    uint64_t stamp                  # the last one given, while there is no control file
    uint64_t *stamp_word            # the counter in use: &stamp, or the control file's, which reader processes share
    uint64_t flushed_stamp          # of the newest flushed snapshot
    uint64_t cut_stamp              # of the newest truncation
    uint64_t next_topic
    uint64_t next_cursor
    uint8_t *pending                # encoded changes since the last sync took them
    uint64_t pending_bytes
    uint64_t pending_room
    uint64_t pending_generation     # raised when a sync takes them
    uint32_t foreign_commits        # of the control file, as of the last look
    DeviceFile slot[2]
    uint32_t newest                 # slot of the newest flushed snapshot
    SnapshotWriter writer           # of the I/O thread (or opening, closing)
    Control *control                # slots of cursors; NULL until it is open
    uint64_t snapshots

# Under catalog.lock (caller): stamps the change and appends it to the pending ones. 0 or -ENOMEM.
cdef int catalog_change(Catalog *catalog, Change *change, const uint8_t *name) noexcept nogil
# Takes catalog.lock, serialises all, writes the older slot, flushes, marks listed files. `flags` of the snapshot.
cdef int catalog_snapshot(Catalog *catalog, Device *device, TopicTable *topics, LogFiles *files, Journal *journal,
                          uint32_t flags) noexcept nogil
cdef int catalog_slots_open(Catalog *catalog, Device *device, bint create) noexcept nogil
cdef void catalog_close(Catalog *catalog, Device *device) noexcept nogil
