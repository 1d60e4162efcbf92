"""Write-back: sealed chunks become extents of the current log file, and when those are in place, memory and places.

Rules kept here: chunk_complete and chunk_prefix (flights are popped in the order of their positions: a chunk is
released when its extent and every earlier one have completed). A chunk of IN_PLACE_BYTES or more is itself the image of
its extent; smaller ones are gathered by copy, many topics to an extent. file.unflushed is raised before a chunk leaves
the outstanding list: a sync that waits for the list then sees what it must flush.

Threads: the I/O thread, but for writeback_wait. No GIL.
"""
from walrus._append cimport topic_seal
from walrus._control cimport ControlTopic
from walrus._device cimport Completion, device_queue_write, device_reap, device_submit, device_wake
from walrus._extent cimport (BLOCK_BYTES, EXTENT_KIND_LOG, ExtentHeader, GroupHeader, extent_group, extent_seal)
from walrus._libc cimport (EAGAIN, EDQUOT, EFBIG, EIO, ENOMEM, ENOSPC, WALRUS_DEBUG, memcpy, memset, uint8_t, uint32_t,
                           walrus_add32, walrus_add64, walrus_futex_wait, walrus_futex_wake, walrus_load32, walrus_load64,
                           walrus_lock, walrus_monotonic_ns, walrus_realtime_ns, walrus_store32, walrus_store64, walrus_unlock)
from walrus._log_state cimport (FLIGHTS_MAX, GATHER_BUFFERS, GATHER_BYTES, GATHER_CHUNKS, LOG_FULL, LOG_POISONED, Flight,
                                files_complete_wake, log_fail)
from walrus._logfile_format cimport table_bytes
from walrus._logfiles cimport (LOGFILE_FULL, LogFile, logfile_fits, logfile_note, logfiles_advance)
from walrus._rules cimport RULE_CHUNK_COMPLETE, RULE_CHUNK_PREFIX, rule_broken
from walrus._staging cimport (CHUNK_OPEN, CHUNK_WRITING, IN_PLACE_BYTES, REGION_BYTES, Chunk, chunk_release,
                              staging_wake)
from walrus._topics cimport Topic, place_insert

cdef enum:
    REAP_MAX = 64
    RETRY_NS = 100000000            # after a full disk
    WAIT_SLICE_NS = 50000000


cdef inline uint64_t blocks(uint64_t bytes) noexcept nogil:
    return (bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)


# ------------------------------------------------------------------------------------------------------ submitting

cdef Chunk *queue_take(Log *log) noexcept nogil:
    cdef Chunk *chunk
    walrus_lock(&log.queue_lock)
    chunk = log.queue_first
    if chunk != NULL:
        log.queue_first = chunk.queue_after
        chunk.state = CHUNK_WRITING
    walrus_unlock(&log.queue_lock)
    return chunk


cdef bint no_space(int code) noexcept nogil:
    return code == -ENOSPC or code == -EDQUOT or code == -EFBIG


cdef int file_for(Log *log, uint64_t bytes, uint32_t groups) noexcept nogil:
    """Makes files.current one with that much room. 0, LOG_FULL, LOG_POISONED."""
    cdef int result
    cdef LogFile *file = log.files.current
    if file != NULL and logfile_fits(file, bytes, groups):
        return 0
    if walrus_load32(&log.full) and walrus_monotonic_ns() < log.retry_ns:
        return LOG_FULL
    if file != NULL:
        file.state = LOGFILE_FULL
        log.files.current = NULL
        walrus_store32(&log.snapshot_wanted, 1)
    result = logfiles_advance(&log.files, &log.device, log.catalog.log_id, <uint32_t>log.catalog.epoch,
                              blocks(bytes + 2 * BLOCK_BYTES + table_bytes(groups)))
    if no_space(result):
        log.retry_ns = walrus_monotonic_ns() + RETRY_NS
        walrus_store32(&log.full, 1)
        walrus_store32(&log.space_wanted, 1)
        files_complete_wake(log)
        staging_wake_all(log)                       # appenders get StorageFullError now, not at their deadline
        return LOG_FULL
    if result < 0:
        return log_fail(log, -result, b"prepare", b"log file")
    if walrus_load32(&log.full):
        walrus_store32(&log.full, 0)
    return 0


cdef void staging_wake_all(Log *log) noexcept nogil:
    walrus_add32(&log.staging.room_word, 1)
    walrus_futex_wake(&log.staging.room_word, 0x7FFFFFFF, 0)


cdef void fill_header(Log *log, uint8_t *at, uint32_t groups, uint32_t header_bytes, uint64_t size,
                      uint64_t position) noexcept nogil:
    cdef ExtentHeader *header = <ExtentHeader *>at
    memset(header, 0, sizeof(ExtentHeader))
    header.kind = EXTENT_KIND_LOG
    header.header_bytes = header_bytes
    header.groups = groups
    header.size = size
    header.number = log.files.current.number
    header.sequence = position
    header.time_ns = walrus_realtime_ns()
    header.snapshot_stamp = walrus_load64(&log.catalog.flushed_stamp)
    header.epoch = <uint32_t>log.catalog.epoch
    header.flushed = walrus_load64(&log.files.current.flushed)
    extent_seal(at, log.catalog.log_id, position)


cdef uint32_t groups_put(uint8_t *at, uint32_t begin, Chunk *chunk) noexcept nogil:
    """The chunk's live groups as group `begin` ... of the extent at `at`; how many. Its topic's name goes with the first."""
    cdef uint32_t i, put = 0
    cdef GroupHeader *group
    for i in range(chunk.groups):
        if chunk.group[i].count == 0:
            continue
        group = extent_group(at, begin + put)
        group[0] = chunk.group[i]
        if put:
            group.name_bytes = 0
        put += 1
    return put


cdef int note_groups(Log *log, const uint8_t *at, uint32_t groups, uint64_t position) noexcept nogil:
    """Into the file's table, with positions from the file's beginning."""
    cdef GroupHeader group
    cdef uint32_t i
    for i in range(groups):
        group = extent_group(at, i)[0]
        group.position += position
        group.name_bytes = 0
        if logfile_note(log.files.current, &group) < 0:
            return log_fail(log, ENOMEM, b"note an extent in", b"log file")
    return 0


cdef Flight *flight_new(Log *log, uint64_t size) noexcept nogil:
    cdef Flight *flight = &log.flights[(log.flight_first + log.flight_count) % FLIGHTS_MAX]
    cdef LogFile *file = log.files.current
    flight.file = file
    flight.position = file.end
    flight.size = size
    flight.chunk_count = 0
    flight.buffer = -1
    flight.single = NULL
    flight.done = False
    log.flight_count += 1
    file.end += size
    file.in_flight += 1
    return flight


cdef int flight_go(Log *log, Flight *flight, const uint8_t *memory) noexcept nogil:
    cdef uint64_t tag = <uint64_t>(flight - log.flights)
    cdef int result = device_queue_write(&log.device, &flight.file.file, memory, flight.size, flight.position, tag)
    log.stats.extents += 1
    log.stats.extent_bytes += flight.size
    if result < 0:
        return log_fail(log, -result, b"write", flight.file.file.name)
    if WALRUS_DEBUG and rule_broken(RULE_CHUNK_COMPLETE):
        flight_land(log, flight)
    return 0


cdef int write_in_place(Log *log, Chunk *chunk) noexcept nogil:
    """The chunk is the image of its extent: header and name into the place kept free, no copy."""
    cdef uint64_t size = blocks(chunk.written)
    cdef Topic *topic = <Topic *>chunk.topic
    cdef uint32_t groups, names, header_bytes
    cdef uint64_t position
    cdef Flight *flight
    cdef int result = file_for(log, size, chunk.groups)
    if result:
        return result
    position = log.files.current.end
    walrus_lock(&topic.lock)
    groups = groups_put(chunk.base, 0, chunk)
    walrus_unlock(&topic.lock)
    if groups == 0:
        chunk_discard(log, chunk)
        return 0
    names = <uint32_t>(sizeof(ExtentHeader) + groups * sizeof(GroupHeader))
    header_bytes = (names + topic.name_bytes + 7) & ~<uint32_t>7
    memcpy(chunk.base + names, topic.name, topic.name_bytes)
    memset(chunk.base + names + topic.name_bytes, 0, header_bytes - names - topic.name_bytes)
    fill_header(log, chunk.base, groups, header_bytes, size, position)
    result = note_groups(log, chunk.base, groups, position)
    if result:
        return result
    flight = flight_new(log, size)
    flight.single = chunk
    chunk.extent_position = position
    return flight_go(log, flight, chunk.base)


# ------------------------------------------------------------------------------------------------------- gathering

cdef uint64_t gathered_bytes(const Chunk *chunk) noexcept nogil:
    """What the chunk adds to a gathered extent: its frames, its groups, its name."""
    cdef Topic *topic = <Topic *>chunk.topic
    return chunk.written - chunk.data_start + chunk.groups * sizeof(GroupHeader) + topic.name_bytes + 8


cdef int gather_buffer(Log *log) noexcept nogil:
    cdef int i
    for i in range(GATHER_BUFFERS):
        if not log.gather_taken[i]:
            return i
    return -1


cdef uint32_t gather_heads(Log *log, uint8_t *memory, uint64_t *at) noexcept nogil:
    """Groups and names of all pending chunks; `at`: where the frames begin."""
    cdef uint32_t i, groups = 0
    cdef uint64_t names
    cdef Chunk *chunk
    cdef Topic *topic
    for i in range(log.pending_count):
        chunk = &log.staging.chunk[log.pending[i]]
        topic = <Topic *>chunk.topic
        walrus_lock(&topic.lock)
        chunk.live_groups = groups_put(memory, groups, chunk)
        walrus_unlock(&topic.lock)
        groups += chunk.live_groups
    names = sizeof(ExtentHeader) + groups * sizeof(GroupHeader)
    for i in range(log.pending_count):
        chunk = &log.staging.chunk[log.pending[i]]
        topic = <Topic *>chunk.topic
        if chunk.live_groups:
            memcpy(memory + names, topic.name, topic.name_bytes)
            names += topic.name_bytes
    at[0] = (names + 7) & ~<uint64_t>7
    memset(memory + names, 0, at[0] - names)
    (<ExtentHeader *>memory).header_bytes = <uint32_t>at[0]
    return groups


cdef uint64_t gather_frames(Log *log, Flight *flight, uint8_t *memory, uint64_t at) noexcept nogil:
    """Copies the frames; each group learns where its own lie. Gives the end."""
    cdef uint32_t i, j, put = 0
    cdef uint64_t bytes
    cdef int64_t shift
    cdef GroupHeader *group
    cdef Chunk *chunk
    for i in range(log.pending_count):
        chunk = &log.staging.chunk[log.pending[i]]
        bytes = chunk.written - chunk.data_start
        memcpy(memory + at, chunk.base + chunk.data_start, bytes)
        shift = <int64_t>at - <int64_t>chunk.data_start
        chunk.extent_position = flight.position + <uint64_t>shift
        for j in range(chunk.live_groups):
            group = extent_group(memory, put + j)
            group.position = <uint64_t>(<int64_t>group.position + shift)
        put += chunk.live_groups
        flight.chunks[flight.chunk_count] = chunk.index
        flight.chunk_count += 1
        at += bytes
    return at


cdef int write_gathered(Log *log) noexcept nogil:
    """All pending small chunks as one extent. 0, LOG_FULL, LOG_POISONED, or -EAGAIN: no buffer free now."""
    cdef int buffer = gather_buffer(log), result
    cdef uint64_t at = 0, size, estimate
    cdef uint32_t groups, header_bytes
    cdef uint8_t *memory
    cdef Flight *flight
    if log.pending_count == 0:
        return 0
    if buffer < 0 or log.flight_count >= FLIGHTS_MAX:
        return -EAGAIN
    estimate = blocks(sizeof(ExtentHeader) + log.pending_bytes)
    result = file_for(log, estimate, log.pending_count * 3)
    if result:
        return result
    memory = log.gather[buffer]
    groups = gather_heads(log, memory, &at)
    if groups == 0:
        while log.pending_count:
            log.pending_count -= 1
            chunk_discard(log, &log.staging.chunk[log.pending[log.pending_count]])
        log.pending_bytes = 0
        return 0
    header_bytes = (<ExtentHeader *>memory).header_bytes
    flight = flight_new(log, estimate)
    at = gather_frames(log, flight, memory, at)
    size = blocks(at)
    memset(memory + at, 0, size - at)
    flight.file.end -= estimate - size
    flight.size = size
    flight.buffer = buffer
    log.gather_taken[buffer] = True
    fill_header(log, memory, groups, header_bytes, size, flight.position)
    result = note_groups(log, memory, groups, flight.position)
    if result:
        return result
    log.pending_count = 0
    log.pending_bytes = 0
    log.stats.gathered_extents += 1
    return flight_go(log, flight, memory)


cdef void chunk_discard(Log *log, Chunk *chunk) noexcept nogil:
    """Nothing in it counts: an extent without a group would end a scan."""
    chunk_unlink(log, chunk)
    outstanding_remove(log, chunk)
    chunk_release(&log.staging, chunk)


cdef int chunk_take_on(Log *log, Chunk *chunk) noexcept nogil:
    """Writes the chunk, or puts it to those to be gathered. Codes as write_gathered."""
    cdef int result
    if chunk.groups == 0:
        chunk_discard(log, chunk)
        return 0
    if chunk.bytes >= IN_PLACE_BYTES and chunk.written - chunk.data_start >= IN_PLACE_BYTES // 2:
        return write_in_place(log, chunk)
    if (log.pending_count >= GATHER_CHUNKS
            or sizeof(ExtentHeader) + log.pending_bytes + gathered_bytes(chunk) > GATHER_BYTES):
        result = write_gathered(log)
        if result:
            return result
    log.pending[log.pending_count] = chunk.index
    log.pending_count += 1
    log.pending_bytes += gathered_bytes(chunk)
    return 0


cdef int writeback_submit(Log *log) noexcept nogil:
    cdef Chunk *chunk
    cdef int result = 0
    if walrus_load32(&log.failure.set):
        return LOG_POISONED
    while log.flight_count < FLIGHTS_MAX:
        chunk = log.held if log.held != NULL else queue_take(log)
        if chunk == NULL:
            result = write_gathered(log)
            break
        log.held = chunk
        result = chunk_take_on(log, chunk)
        if result:
            break
        log.held = NULL
    if device_submit(&log.device) < 0:
        return log_fail(log, EIO, b"submit to", b"the ring")
    return LOG_POISONED if result == LOG_POISONED else 0


# ------------------------------------------------------------------------------------------------------ completing

cdef void outstanding_remove(Log *log, Chunk *chunk) noexcept nogil:
    walrus_lock(&log.queue_lock)
    if chunk.queue_before != NULL:
        chunk.queue_before.queue_after = chunk.queue_after
    else:
        log.outstanding_first = chunk.queue_after
    if chunk.queue_after != NULL:
        chunk.queue_after.queue_before = chunk.queue_before
    else:
        log.outstanding_last = chunk.queue_before
    chunk.queue_before = NULL
    chunk.queue_after = NULL
    log.outstanding_bytes -= chunk.bytes
    walrus_unlock(&log.queue_lock)


cdef void chunk_unlink(Log *log, Chunk *chunk) noexcept nogil:
    """Out of its topic's list of staged chunks. Takes topic.lock."""
    cdef Topic *topic = <Topic *>chunk.topic
    cdef Chunk *at
    cdef ControlTopic *shared = <ControlTopic *>topic.control
    walrus_lock(&topic.lock)
    if topic.oldest == chunk:
        topic.oldest = chunk.newer
    else:
        at = topic.oldest
        while at != NULL and at.newer != chunk:
            at = at.newer
        if at != NULL:
            at.newer = chunk.newer
    if shared != NULL:
        if shared.current == chunk.index + 1:
            walrus_store32(&shared.current, 0)
        walrus_add64(&shared.places, 1)
    walrus_unlock(&topic.lock)


cdef int places_enter(Log *log, Flight *flight, Chunk *chunk) noexcept nogil:
    """The chunk's frames can be read from the file from now on."""
    cdef Topic *topic = <Topic *>chunk.topic
    cdef GroupHeader group
    cdef uint32_t i
    cdef int result = 0
    walrus_lock(&topic.lock)
    for i in range(chunk.groups):
        group = chunk.group[i]
        if group.count == 0 or group.first + group.count <= topic.low_durable:
            continue
        group.position += chunk.extent_position
        result = place_insert(topic, &group, group.first + group.count, flight.file)
        if result < 0:
            break
        walrus_add64(&flight.file.live, 1)
        walrus_add64(&flight.file.live_bytes, group.bytes)
    walrus_unlock(&topic.lock)
    return result


cdef void chunk_land(Log *log, Flight *flight, Chunk *chunk) noexcept nogil:
    if places_enter(log, flight, chunk) < 0:
        log_fail(log, ENOMEM, b"enter an extent of", flight.file.file.name)
        return
    chunk_unlink(log, chunk)
    outstanding_remove(log, chunk)
    chunk_release(&log.staging, chunk)


cdef void flight_land(Log *log, Flight *flight) noexcept nogil:
    """It and every earlier extent of the file are in place."""
    cdef uint32_t i
    walrus_store64(&flight.file.landed, flight.position + flight.size)
    walrus_add32(&flight.file.unflushed, 1)
    if flight.single != NULL:
        chunk_land(log, flight, flight.single)
        flight.single = NULL
    for i in range(flight.chunk_count):
        chunk_land(log, flight, &log.staging.chunk[flight.chunks[i]])
    flight.chunk_count = 0


cdef void flights_pop(Log *log) noexcept nogil:
    """chunk_prefix: only from the front."""
    cdef Flight *flight
    while log.flight_count:
        flight = &log.flights[log.flight_first]
        if not flight.done:
            break
        flight_land(log, flight)
        flight.file.in_flight -= 1
        if flight.buffer >= 0:
            log.gather_taken[flight.buffer] = False
        log.flight_first = (log.flight_first + 1) % FLIGHTS_MAX
        log.flight_count -= 1


cdef int writeback_reap(Log *log, int64_t timeout_ns) noexcept nogil:
    cdef Completion completions[64]
    cdef Flight *flight
    cdef int i
    cdef int count = device_reap(&log.device, completions, REAP_MAX, timeout_ns)
    if count < 0:
        log_fail(log, -count, b"reap from", b"the ring")
        return 0
    for i in range(count):
        flight = &log.flights[completions[i].tag]
        if completions[i].result < 0:
            log_fail(log, <int>-completions[i].result, b"write", flight.file.file.name)
            continue
        flight.done = True
        if WALRUS_DEBUG and rule_broken(RULE_CHUNK_PREFIX):
            flight_land(log, flight)
    if count:
        flights_pop(log)
        staging_wake(&log.staging)
        files_complete_wake(log)
    return count


cdef bint in_place(Log *log, uint64_t sequence) noexcept nogil:
    cdef bint yes
    walrus_lock(&log.queue_lock)
    yes = log.outstanding_first == NULL or log.outstanding_first.sequence > sequence
    walrus_unlock(&log.queue_lock)
    return yes


cdef int writeback_wait(Log *log, uint64_t sequence, bint by_iothread) noexcept nogil:
    cdef uint32_t seen
    cdef int result
    while True:
        seen = walrus_load32(&log.complete_word)
        if in_place(log, sequence):
            return 0
        if walrus_load32(&log.failure.set):
            return LOG_POISONED
        if by_iothread:
            result = writeback_submit(log)
            if result:
                return result
            if log.flight_count == 0 and walrus_load32(&log.full):
                return LOG_FULL
            writeback_reap(log, WAIT_SLICE_NS if log.flight_count else 0)
            continue
        if walrus_load32(&log.full) and log.flight_count == 0:
            return LOG_FULL
        device_wake(&log.device)
        walrus_add32(&log.complete_waiters, 1)
        walrus_futex_wait(&log.complete_word, seen, WAIT_SLICE_NS, 0)
        walrus_add32(&log.complete_waiters, <uint32_t>-1)


# ---------------------------------------------------------------------------------------------------- choosing what to seal

cdef uint32_t open_chunks(Log *log, uint64_t use, uint64_t bytes, uint32_t *found, uint32_t room) noexcept nogil:
    """Indices of open chunks, oldest first: with frames journaled up to `use` (0: any), until `bytes` are found."""
    cdef uint32_t count = 0
    cdef uint64_t sum = 0
    cdef Chunk *chunk
    walrus_lock(&log.staging.lock)
    chunk = log.staging.oldest
    while chunk != NULL and count < room and sum < bytes:
        if chunk.state == CHUNK_OPEN and (use == 0 or (chunk.journal_use and chunk.journal_use <= use)):
            found[count] = chunk.index
            count += 1
            sum += chunk.bytes
        chunk = chunk.after
    walrus_unlock(&log.staging.lock)
    return count


cdef uint32_t seal_some(Log *log, uint64_t use, uint64_t bytes) noexcept nogil:
    cdef uint32_t found[256]
    cdef uint32_t i, sealed = 0, count = open_chunks(log, use, bytes, found, 256)
    cdef Chunk *chunk
    cdef Topic *topic
    for i in range(count):
        chunk = &log.staging.chunk[found[i]]
        topic = <Topic *>chunk.topic
        if topic == NULL:
            continue
        walrus_lock(&topic.lock)
        if topic.current == chunk:
            topic_seal(log, topic)
            sealed += 1
        walrus_unlock(&topic.lock)
    return sealed


cdef void seal_all(Log *log) noexcept nogil:
    while seal_some(log, 0, <uint64_t>-1):
        pass


cdef void seal_journaled(Log *log, uint64_t use) noexcept nogil:
    while seal_some(log, use, <uint64_t>-1):
        pass


cdef void seal_cold(Log *log) noexcept nogil:
    """Open chunks may hold half of the staging: the oldest go when they hold more, or when somebody waits for room."""
    cdef uint64_t total = <uint64_t>log.staging.regions * REGION_BYTES
    cdef uint64_t used = log.staging.free_bytes + log.outstanding_bytes
    cdef uint64_t open_bytes = total - used if used < total else 0
    if open_bytes * 2 > total or (walrus_load32(&log.staging.room_waiters) and log.outstanding_first == NULL):
        log.stats.evictions += seal_some(log, 0, total // 8)
