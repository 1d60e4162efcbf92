"""Staging: the mapped file that holds each topic's newest frames, cut into chunks of size classes.

Byte table (little endian; StagingHead and ChunkSlot in _staging.pxd give the fields):

  position                  bytes            what
  0                         4096             StagingHead; crc is CRC32C of bytes 4 .. sizeof(StagingHead)
  4096                      64 x slots       ChunkSlot i speaks of the chunk that begins at unit i of the chunk area
  chunks_position           1024 x slots     chunk area, page aligned, in regions of 1 MiB; a chunk of class c is 1 KiB << c long

The staging file counts only if its head validates and names the log and the nonce of the newest snapshot. A slot counts if it
is USED, its generation is even and its crc is that of its constant part and name; its frames then prove themselves. A chunk's memory is
given back when its extent and every earlier one of that file have completed (chunk_complete, chunk_prefix): _iothread sees to it.
Order of reuse: state free, generation odd, constant part, generation even, state used; readers of other processes compare the
generation before and after they copy.

Threads: allocation under staging.lock, from any thread. No GIL.
"""
from walrus._checksum cimport crc32c
from walrus._device cimport FILE_BUFFERED, FILE_CREATE, device_map, file_allocate, file_close, file_open
from walrus._extent cimport BLOCK_BYTES, ExtentHeader
from walrus._libc cimport (ENOMEM, calloc, free, memcpy, memset, munmap, walrus_add32, walrus_exchange32, walrus_fence,
                           walrus_futex_wake, walrus_load32, walrus_lock, walrus_store32, walrus_unlock)


cdef uint32_t slot_crc(const ChunkSlot *slot, const uint8_t *base) noexcept nogil:
    cdef uint32_t generation = (slot.generation + 1) & ~<uint32_t>1
    cdef uint32_t crc = crc32c(0, &generation, 4)
    crc = crc32c(crc, &slot.topic_id, 23)           # topic_id, first, data_start, name_bytes, chunk_class
    crc = crc32c(crc, &slot.epoch, 12)              # epoch, previous, previous_generation
    return crc32c(crc, base + name_position(slot.chunk_class, slot.name_bytes), slot.name_bytes)


cdef uint32_t chunk_data_start(int chunk_class, uint32_t name_bytes) noexcept nogil:
    return (name_position(chunk_class, name_bytes) + name_bytes + 7) & ~<uint32_t>7


cdef uint64_t layout(uint64_t chunk_area_bytes, uint64_t *chunks_position) noexcept nogil:
    """Bytes of a staging file with that chunk area."""
    cdef uint64_t slots = chunk_area_bytes // CHUNK_BYTES_MIN
    chunks_position[0] = (BLOCK_BYTES + slots * sizeof(ChunkSlot) + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    return chunks_position[0] + chunk_area_bytes


cdef int arrays_make(Staging *staging) noexcept nogil:
    staging.chunk = <Chunk *>calloc(staging.slot_count, sizeof(Chunk))
    staging.region_class = <uint8_t *>calloc(staging.regions, 1)
    staging.region_used = <uint32_t *>calloc(staging.regions, 4)
    if staging.chunk == NULL or staging.region_class == NULL or staging.region_used == NULL:
        return -ENOMEM
    memset(staging.region_class, REGION_FREE, staging.regions)
    staging.free_regions = staging.regions
    staging.free_bytes = <uint64_t>staging.regions * REGION_BYTES
    return 0


cdef int staging_open(Staging *staging, Device *device, uint64_t chunk_area_bytes, const uint8_t *log_id,
                      const uint8_t *boot_id, uint64_t epoch, bint fresh) noexcept nogil:
    """Opens and maps the file. Fresh: made anew with that area (and whatever it held is void); else its own size is adopted.

    The nonce is in `log_id` + 16 when fresh (32 bytes are read there).
    """
    cdef uint64_t position = 0
    cdef uint64_t bytes = layout(chunk_area_bytes, &position)
    cdef StagingHead head
    cdef int result = file_open(device, &staging.file, b"staging", FILE_CREATE | FILE_BUFFERED)
    if result < 0:
        return result
    if fresh:
        result = file_allocate(device, &staging.file, bytes)
        if result < 0:
            return result
    else:
        bytes = staging.file.size
    result = device_map(device, &staging.file, bytes, bytes, True, &staging.memory)
    if result < 0:
        return result
    staging.bytes = bytes
    staging.head = <StagingHead *>staging.memory
    if fresh:
        memset(&head, 0, sizeof(head))
        head.magic = STAGING_MAGIC
        head.version = STAGING_VERSION
        head.slots = <uint32_t>(chunk_area_bytes // CHUNK_BYTES_MIN)
        memcpy(head.log_id, log_id, 16)
        memcpy(head.nonce, log_id + 16, 16)
        memcpy(head.boot_id, boot_id, 16)
        head.epoch = epoch
        head.bytes = bytes
        head.chunks_position = position
        head.crc = crc32c(0, <uint8_t *>&head + 4, sizeof(head) - 4)
        staging.head.magic = 0                      # a half-made file never counts
        walrus_fence()
        memset(staging.memory + BLOCK_BYTES, 0, position - BLOCK_BYTES)
        memcpy(staging.memory, &head, sizeof(head))
    staging.slots = <ChunkSlot *>(staging.memory + BLOCK_BYTES)
    staging.slot_count = staging.head.slots
    staging.regions = <uint32_t>(<uint64_t>staging.slot_count * CHUNK_BYTES_MIN // REGION_BYTES)
    staging.chunks = staging.memory + staging.head.chunks_position
    return arrays_make(staging)


cdef void staging_close(Staging *staging, Device *device) noexcept nogil:
    if staging.memory != NULL:
        munmap(staging.memory, staging.bytes)
        staging.memory = NULL
    if staging.file.fd >= 0:
        file_close(device, &staging.file)
    free(staging.chunk)
    free(staging.region_class)
    free(staging.region_used)
    staging.chunk = NULL
    staging.region_class = NULL
    staging.region_used = NULL


# ---------------------------------------------------------------------------------------------------- free lists

cdef void list_push(Staging *staging, Chunk *chunk) noexcept nogil:
    cdef Chunk *head = staging.free_list[chunk.chunk_class]
    chunk.before = NULL
    chunk.after = head
    if head != NULL:
        head.before = chunk
    staging.free_list[chunk.chunk_class] = chunk


cdef void list_remove(Staging *staging, Chunk *chunk) noexcept nogil:
    if chunk.before != NULL:
        chunk.before.after = chunk.after
    else:
        staging.free_list[chunk.chunk_class] = chunk.after
    if chunk.after != NULL:
        chunk.after.before = chunk.before
    chunk.before = NULL
    chunk.after = NULL


cdef void in_use_push(Staging *staging, Chunk *chunk) noexcept nogil:
    chunk.before = staging.newest
    chunk.after = NULL
    if staging.newest != NULL:
        staging.newest.after = chunk
    else:
        staging.oldest = chunk
    staging.newest = chunk


cdef void in_use_remove(Staging *staging, Chunk *chunk) noexcept nogil:
    if chunk.before != NULL:
        chunk.before.after = chunk.after
    else:
        staging.oldest = chunk.after
    if chunk.after != NULL:
        chunk.after.before = chunk.before
    else:
        staging.newest = chunk.before
    chunk.before = NULL
    chunk.after = NULL


cdef inline uint32_t region_of(const Chunk *chunk) noexcept nogil:
    return <uint32_t>(<uint64_t>chunk.index * CHUNK_BYTES_MIN // REGION_BYTES)


cdef void chunk_place(Staging *staging, uint32_t index, int chunk_class) noexcept nogil:
    """Fills what follows from where the chunk lies."""
    cdef Chunk *chunk = staging.chunk + index
    chunk.index = index
    chunk.slot = staging.slots + index
    chunk.base = staging.chunks + <uint64_t>index * CHUNK_BYTES_MIN
    chunk.bytes = class_bytes(chunk_class)
    chunk.chunk_class = <uint8_t>chunk_class
    chunk.state = CHUNK_FREE


cdef bint region_carve(Staging *staging, int chunk_class) noexcept nogil:
    cdef uint32_t region, i, units = <uint32_t>1 << chunk_class
    if staging.free_regions == 0:
        return False
    for region in range(staging.regions):
        if staging.region_class[region] == REGION_FREE:
            break
    else:
        return False
    staging.region_class[region] = <uint8_t>chunk_class
    staging.region_used[region] = 0
    staging.free_regions -= 1
    cdef uint32_t first = region * (REGION_BYTES // CHUNK_BYTES_MIN)
    i = REGION_BYTES // CHUNK_BYTES_MIN
    while i >= units:                               # pushed from the end: handed out from the beginning
        i -= units
        chunk_place(staging, first + i, chunk_class)
        list_push(staging, staging.chunk + first + i)
    return True


cdef void region_release(Staging *staging, uint32_t region) noexcept nogil:
    """All its chunks are free: it may serve another class."""
    cdef uint32_t i, units = <uint32_t>1 << staging.region_class[region]
    cdef uint32_t first = region * (REGION_BYTES // CHUNK_BYTES_MIN)
    i = 0
    while i < REGION_BYTES // CHUNK_BYTES_MIN:
        list_remove(staging, staging.chunk + first + i)
        i += units
    staging.region_class[region] = REGION_FREE
    staging.free_regions += 1


cdef Chunk *take_locked(Staging *staging, int chunk_class) noexcept nogil:
    if staging.free_list[chunk_class] == NULL and not region_carve(staging, chunk_class):
        return NULL
    cdef Chunk *chunk = staging.free_list[chunk_class]
    list_remove(staging, chunk)
    in_use_push(staging, chunk)
    staging.region_used[region_of(chunk)] += 1
    staging.free_bytes -= chunk.bytes
    chunk.state = CHUNK_OPEN
    return chunk


cdef Chunk *chunk_take(Staging *staging, int wanted, uint64_t least, uint32_t name_bytes) noexcept nogil:
    cdef int c
    cdef Chunk *chunk = NULL
    while wanted + 1 < CHUNK_CLASSES and class_bytes(wanted) < chunk_data_start(wanted, name_bytes) + least:
        wanted += 1
    walrus_lock(&staging.lock)
    c = wanted
    while c >= 0 and class_bytes(c) >= chunk_data_start(c, name_bytes) + least:
        chunk = take_locked(staging, c)
        if chunk != NULL:
            break
        c -= 1
    c = wanted + 1
    while chunk == NULL and c < CHUNK_CLASSES:      # a larger one that lies free in its class's region
        if staging.free_list[c] != NULL:
            chunk = take_locked(staging, c)
        c += 1
    walrus_unlock(&staging.lock)
    return chunk


cdef void chunk_bind(Chunk *chunk, void *topic, uint64_t topic_id, const uint8_t *name, uint32_t name_bytes,
                     uint64_t first, uint32_t epoch, Chunk *previous) noexcept nogil:
    cdef ChunkSlot *slot = chunk.slot
    cdef uint32_t generation = (slot.generation | 1) + 2
    chunk.topic = topic
    chunk.newer = NULL
    chunk.data_start = chunk_data_start(chunk.chunk_class, name_bytes)
    chunk.written = chunk.data_start
    chunk.used = chunk.data_start
    chunk.journaled = chunk.data_start
    chunk.first = first
    chunk.end = first
    chunk.payload_bytes = 0
    chunk.journaled_end = first
    chunk.journaled_payload = 0
    chunk.journal_use = 0
    chunk.sequence = 0
    chunk.groups = 0
    chunk.doomed = False
    slot.state = SLOT_FREE
    walrus_store32(&slot.generation, generation)
    walrus_fence()
    slot.topic_id = topic_id
    slot.first = first
    slot.data_start = chunk.data_start
    slot.name_bytes = <uint16_t>name_bytes
    slot.chunk_class = chunk.chunk_class
    slot.epoch = epoch
    slot.previous = 0
    slot.previous_generation = 0
    if previous != NULL:
        slot.previous = previous.index + 1
        slot.previous_generation = previous.slot.generation
    slot.used = chunk.data_start
    slot.end = first
    memcpy(chunk.base + name_position(chunk.chunk_class, name_bytes), name, name_bytes)
    slot.crc = slot_crc(slot, chunk.base)
    walrus_fence()
    walrus_store32(&slot.generation, generation + 1)
    slot.state = SLOT_USED


cdef uint32_t name_position(int chunk_class, uint32_t name_bytes) noexcept nogil:
    # Behind where the extent's header will have its own copy: that header may be half written when the process is killed.
    if class_bytes(chunk_class) >= IN_PLACE_BYTES:
        return <uint32_t>(sizeof(ExtentHeader) + CHUNK_GROUPS * sizeof(GroupHeader)) + ((name_bytes + 7) & ~<uint32_t>7)
    return 0


cdef Chunk *chunk_adopt(Staging *staging, uint32_t index, int chunk_class) noexcept nogil:
    """NULL where the region already serves another class, or the index is not one of a chunk of that class."""
    cdef uint32_t region = <uint32_t>(<uint64_t>index * CHUNK_BYTES_MIN // REGION_BYTES)
    cdef uint32_t first, i, units
    if chunk_class < 0 or chunk_class >= CHUNK_CLASSES or region >= staging.regions:
        return NULL
    units = <uint32_t>1 << chunk_class
    first = region * (REGION_BYTES // CHUNK_BYTES_MIN)
    if (index - first) % units:
        return NULL
    if staging.region_class[region] == REGION_FREE:
        staging.region_class[region] = <uint8_t>chunk_class
        staging.free_regions -= 1
        i = 0
        while i < REGION_BYTES // CHUNK_BYTES_MIN:
            chunk_place(staging, first + i, chunk_class)
            list_push(staging, staging.chunk + first + i)
            i += units
    cdef Chunk *chunk = staging.chunk + index
    if staging.region_class[region] != chunk_class or chunk.state != CHUNK_FREE:
        return NULL
    list_remove(staging, chunk)
    in_use_push(staging, chunk)
    staging.region_used[region] += 1
    staging.free_bytes -= chunk.bytes
    chunk.state = CHUNK_SEALED
    return chunk


cdef void chunk_give_back(Staging *staging, Chunk *chunk) noexcept nogil:
    cdef uint32_t region = region_of(chunk)
    chunk.slot.state = SLOT_FREE
    walrus_fence()
    walrus_store32(&chunk.slot.generation, (chunk.slot.generation | 1) + 1)
    walrus_lock(&staging.lock)
    in_use_remove(staging, chunk)
    chunk.state = CHUNK_FREE
    chunk.topic = NULL
    list_push(staging, chunk)
    staging.free_bytes += chunk.bytes
    staging.region_used[region] -= 1
    if staging.region_used[region] == 0:
        region_release(staging, region)
    walrus_unlock(&staging.lock)


cdef void chunk_unpin(Staging *staging, Chunk *chunk) noexcept nogil:
    # The I/O thread marks a chunk doomed before it looks at the pins: one of the two sees the other.
    if walrus_add32(&chunk.pins, <uint32_t>-1) == 0 and walrus_load32(&chunk.doomed):
        chunk_doom(staging, chunk)


cdef void chunk_doom(Staging *staging, Chunk *chunk) noexcept nogil:
    """Gives it back once: whoever takes the mark does it."""
    cdef uint32_t *mark = <uint32_t *>&chunk.doomed
    if walrus_exchange32(mark, 0):
        chunk_give_back(staging, chunk)
        staging_wake(staging)


cdef void chunk_release(Staging *staging, Chunk *chunk) noexcept nogil:
    """Its extent is in place: back it goes, now or when the last reader has left it."""
    chunk.state = CHUNK_WRITTEN
    walrus_exchange32(&chunk.doomed, 1)
    if walrus_load32(&chunk.pins) == 0:
        chunk_doom(staging, chunk)


cdef void staging_wake(Staging *staging) noexcept nogil:
    # Waiters are woken when a quarter is free, not chunk by chunk: each of them then finds room for a while.
    if walrus_load32(&staging.room_waiters) and staging.free_bytes * 4 >= <uint64_t>staging.regions * REGION_BYTES:
        walrus_add32(&staging.room_word, 1)
        walrus_futex_wake(&staging.room_word, 0x7FFFFFFF, 0)
