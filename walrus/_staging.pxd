"""Staging: the mapped file that holds each topic's newest frames, cut into chunks of size classes.

Layer: places. Byte table and rules: head of _staging.pyx. Allocation under staging.lock; the bytes of a chunk belong to the
holder of its topic's lock until it is sealed, to the I/O thread until its extent has completed, then to nobody.

  file = StagingHead (4 KiB) | ChunkSlot x slots | chunk area (page aligned): regions of REGION_BYTES, each of one class
"""
from walrus._libc cimport uint8_t, uint16_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._device cimport Device, DeviceFile

cdef enum:
    STAGING_MAGIC = 0x47545357      # "WSTG"
    STAGING_VERSION = 1
    REGION_BYTES = 1048576
    CHUNK_BYTES_MIN = 1024
    CHUNK_CLASSES = 11              # 1 KiB << class
    IN_PLACE_BYTES = 65536          # chunks of at least this are written where they are
    CHUNK_GROUPS = 3                # last piece of a large frame, a run, first piece of the next
    REGION_FREE = 255

    SLOT_FREE = 0
    SLOT_USED = 1

    CHUNK_FREE = 0
    CHUNK_OPEN = 1                  # its topic's current one
    CHUNK_SEALED = 2                # in the I/O thread's queue
    CHUNK_WRITING = 3
    CHUNK_WRITTEN = 4               # complete, with every extent before it; freed when nobody pins it

ctypedef struct StagingHead:        # first 4 KiB
    uint32_t crc                    # of bytes 4 .. sizeof
    uint32_t magic
    uint32_t version
    uint32_t slots                  # CHUNK_BYTES_MIN units of the chunk area
    uint8_t log_id[16]
    uint8_t nonce[16]
    uint8_t boot_id[16]
    uint64_t epoch                  # when the file was made
    uint64_t bytes                  # of the file
    uint64_t chunks_position

ctypedef struct ChunkSlot:          # 64 bytes, shared with other processes; slot i speaks of the chunk at unit i
    uint32_t generation             # raised before the chunk is used again; odd while the constant part is being written
    uint32_t crc                    # of the constant part and the name (see slot_crc)
    uint64_t topic_id               # constant part: topic_id .. previous
    uint64_t first
    uint32_t data_start
    uint16_t name_bytes
    uint8_t chunk_class
    uint8_t state
    uint32_t epoch
    uint32_t previous               # 1 + slot of the topic's older chunk, 0 none
    uint32_t previous_generation
    uint32_t reserved
    uint64_t used                   # bytes from the chunk's beginning up to what is published
    uint64_t end                    # offset behind the last published frame

ctypedef struct Chunk               # private companion of a slot
ctypedef struct Chunk:
    void *topic                     # Topic *
    Chunk *newer                    # next chunk of the same topic
    Chunk *before                   # in a free list, or in the order of allocation
    Chunk *after
    Chunk *queue_before             # outstanding: sealed, not complete; in the order of sealing
    Chunk *queue_after
    uint8_t *base
    ChunkSlot *slot
    uint32_t index                  # of slot
    uint32_t bytes
    uint32_t data_start
    uint32_t written                # bytes in use, pieces that are not published included
    uint32_t used                   # bytes published
    uint32_t journaled              # bytes up to which a journal record has the frames
    uint64_t journaled_end          # offset behind them
    uint64_t journaled_payload
    uint64_t first
    uint64_t end                    # offset behind the last published frame
    uint64_t payload_bytes          # of published frames
    uint64_t extent_position        # once submitted: where the chunk's byte 0 would lie in its file
    uint64_t journal_use            # least use number of a journal file that holds a frame of it; 0: none
    uint64_t sequence               # of sealing
    uint32_t groups
    GroupHeader group[3]
    uint32_t live_groups            # that went into its gathered extent
    uint32_t pins                   # readers
    uint32_t state
    uint8_t chunk_class
    uint32_t doomed                 # WRITTEN while pinned: the last unpin frees it

ctypedef struct Staging:
    DeviceFile file
    uint8_t *memory
    uint64_t bytes                  # of the file
    StagingHead *head
    ChunkSlot *slots
    uint8_t *chunks                 # the area
    Chunk *chunk                    # array parallel to slots
    uint32_t slot_count
    uint32_t regions
    uint8_t *region_class
    uint32_t *region_used           # chunks in use
    uint32_t lock
    Chunk *free_list[11]
    Chunk *oldest                   # chunks in use, in the order of allocation
    Chunk *newest
    uint64_t free_bytes
    uint64_t free_regions
    uint32_t room_word              # futex: raised when there is room again
    uint32_t room_waiters

cdef int staging_open(Staging *staging, Device *device, uint64_t chunk_area_bytes, const uint8_t *log_id,
                      const uint8_t *boot_id, uint64_t epoch, bint fresh) noexcept nogil
cdef void staging_close(Staging *staging, Device *device) noexcept nogil
# Of the slot's constant part and the name in its chunk, which is at `base`; the class and name_bytes were looked at before.
cdef uint32_t slot_crc(const ChunkSlot *slot, const uint8_t *base) noexcept nogil
# A chunk of class `wanted`, or of a smaller one that holds at least `least` bytes of frames after the name; NULL: no room now.
cdef Chunk *chunk_take(Staging *staging, int wanted, uint64_t least, uint32_t name_bytes) noexcept nogil
# Binds a fresh chunk to its topic: the name, the slot. Caller holds the topic's lock.
cdef void chunk_bind(Chunk *chunk, void *topic, uint64_t topic_id, const uint8_t *name, uint32_t name_bytes,
                     uint64_t first, uint32_t epoch, Chunk *previous) noexcept nogil
# Adopts the chunk at `index` of `chunk_class` as in use (recovery, before anything is taken).
cdef Chunk *chunk_adopt(Staging *staging, uint32_t index, int chunk_class) noexcept nogil
cdef void chunk_give_back(Staging *staging, Chunk *chunk) noexcept nogil
# Its extent is in place: given back now, or when the last reader has left it.
cdef void chunk_release(Staging *staging, Chunk *chunk) noexcept nogil
cdef void staging_wake(Staging *staging) noexcept nogil
# Where in a chunk of that class its topic's name stands.
cdef uint32_t name_position(int chunk_class, uint32_t name_bytes) noexcept nogil
# A reader lets go: the last one of a chunk that was written meanwhile gives it back.
cdef void chunk_unpin(Staging *staging, Chunk *chunk) noexcept nogil
cdef uint32_t chunk_data_start(int chunk_class, uint32_t name_bytes) noexcept nogil
cdef inline uint32_t class_bytes(int chunk_class) noexcept nogil:
    return <uint32_t>CHUNK_BYTES_MIN << chunk_class
