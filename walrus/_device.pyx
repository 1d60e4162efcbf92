"""Devices: the three ways to the disk behind one interface. What each function promises is said in _device.pxd.

               io_uring                       pwrite                    mmap
  queue_write  an SQE, sent by submit         pwrite at once            memcpy into the mapped log file; others: pwrite
  reap sleeps  in the ring, reads wake_fd     poll(wake_fd)             poll(wake_fd)
  read_many    one submission                 preads                    preads
  O_DIRECT     all but FILE_BUFFERED          all but FILE_BUFFERED     neither FILE_BUFFERED nor FILE_MAP
  flush        fdatasync                      fdatasync                 fdatasync

Invariants:
  - A transfer is reported whole or failed; a failed flush is returned and never tried again.
  - O_DIRECT is declined for a file whose alignment is not known to be at most TRANSFER_ALIGNMENT_MAX: callers align to that.
  - A wake-up is not lost. The waker sets wake_pending, then looks at `sleeping`; the sleeper sets `sleeping`, then looks at
    wake_pending; both with full fences. A blocking device_reap that finds wake_pending takes it and returns 0.
  - A file's size never shrinks here, but for a failed growth, which is taken back: readers may have it mapped.

Threads: the I/O thread alone queues, submits and reaps. All else may be called from any thread; one DeviceFile is opened,
allocated and closed by one thread at a time. No GIL, nothing raises.
"""
from walrus._libc cimport (EAGAIN, EBUSY, EFD_CLOEXEC, EINTR, EINVAL, EIO, ENOMEM, ENOSYS, EOPNOTSUPP, FALLOC_FL_KEEP_SIZE,
                           FALLOC_FL_PUNCH_HOLE, MADV_POPULATE_WRITE, MAP_FAILED, MAP_SHARED, POLLIN, POSIX_FADV_DONTNEED,
                           PROT_READ, PROT_WRITE, WALRUS_DEBUG, calloc, close, errno, eventfd, fallocate, fdatasync, free,
                           fsync, ftruncate, int64_t, madvise, memset, mmap, munmap, poll, pollfd, posix_fadvise,
                           posix_memalign, read, renameat, strlen, strncpy, uint32_t, uint64_t, uint8_t, unlinkat,
                           walrus_add64, walrus_exchange32, walrus_file_size, walrus_is_read_only, walrus_load32, walrus_lock,
                           walrus_monotonic_ns, walrus_store32, walrus_unlock, write)
from walrus._read_ring cimport ahead_ring_begin, ahead_ring_reap, read_ring_many
from walrus._ring cimport (RING_ONE_THREAD, Ring, Transfer, ring_collect, ring_forked, ring_free, ring_give_back, ring_make, ring_queue,
                           ring_submit, ring_transfer, ring_wait)
from walrus._trace cimport (FAULT_ALLOCATE, FAULT_DIRECTORY, FAULT_FLUSH, FAULT_MAP, FAULT_OPEN, FAULT_PUNCH, FAULT_READ,
                            FAULT_RENAME, FAULT_SHORT, FAULT_UNLINK, FAULT_WRITE, TRACE_ALLOCATE, TRACE_CREATE,
                            TRACE_FLUSH_BEGIN, TRACE_FLUSH_END, TRACE_MAP, TRACE_OPEN, TRACE_PUNCH, TRACE_SYNC_DIRECTORY_BEGIN,
                            TRACE_SYNC_DIRECTORY_END, TRACE_TRUNCATE, TRACE_UNLINK, TRACE_WRITE_BEGIN, TRACE_WRITE_END,
                            fault_shorten, fault_take, trace_end, trace_file_id, trace_open, trace_record, trace_rename)
from walrus._transfer cimport TRANSFER_ALIGNMENT_MAX, transfer_alignment, transfer_get, transfer_open, transfer_put

cdef enum:
    ZEROS_BYTES = 1 << 20           # of one write of zeros
    READ_FIRST_BYTES = 1 << 20      # of one read of device_map

ctypedef struct State:
    int lock_fd
    int trace                       # -1: none; always in a release build
    uint32_t sleeping               # the I/O thread is in the kernel, or about to be
    uint32_t alignment_known
    bint read_ring_refused          # under read_lock
    bint ahead_ring_refused         # under the lock of who reads ahead
    Completion done[2048]           # completions that come from no ring: a queue
    uint32_t done_first
    uint32_t done_count


cdef inline State *state_of(Device *device) noexcept nogil:
    return <State *>device.private_state


# ------------------------------------------------------------------------------------------------------ opening, closing

cdef int device_open(Device *device, int directory, int lock_fd, int way) noexcept nogil:
    cdef State *state
    memset(device, 0, sizeof(Device))
    device.wake_fd = -1
    device.directory = directory
    device.asked = way
    device.way = DEVICE_URING if way == DEVICE_AUTO else way
    device.alignment = TRANSFER_ALIGNMENT_MAX
    if way < DEVICE_AUTO or way > DEVICE_MMAP:
        return -EINVAL
    state = <State *>calloc(1, sizeof(State))
    if state == NULL:
        return -ENOMEM
    state.lock_fd = lock_fd
    state.trace = -1
    device.private_state = state
    device.wake_fd = eventfd(0, EFD_CLOEXEC)        # blocking: the ring's read of it has to wait, not to fail
    if device.wake_fd < 0:
        free(state)
        device.private_state = NULL
        return -errno
    if WALRUS_DEBUG:
        state.trace = trace_open()
    return 0


cdef int device_start(Device *device) noexcept nogil:
    cdef Ring *ring = NULL
    cdef State *state = state_of(device)
    cdef int result
    if device.way != DEVICE_URING:
        return 0
    result = ring_make(&ring, DEVICE_QUEUE_DEPTH, RING_ONE_THREAD, state.lock_fd, device.wake_fd, &device.stats, state.trace)
    if result < 0:
        device.fallback_errno = -result
        device.way = DEVICE_PWRITE
        return 0
    device.ring = ring
    return 0


cdef void device_stop(Device *device) noexcept nogil:
    if device.ring != NULL:
        ring_free(<Ring *>device.ring)
        device.ring = NULL
    device.in_flight = 0 if state_of(device) == NULL else state_of(device).done_count


cdef void device_close(Device *device) noexcept nogil:
    cdef State *state = state_of(device)
    if state == NULL:
        return
    device_stop(device)
    if device.read_ring != NULL:
        ring_free(<Ring *>device.read_ring)
        device.read_ring = NULL
    if device.ahead_ring != NULL:
        ring_free(<Ring *>device.ahead_ring)
        device.ahead_ring = NULL
    if device.wake_fd >= 0:
        close(device.wake_fd)
        device.wake_fd = -1
    if state.trace >= 0:
        close(state.trace)
    free(state)
    device.private_state = NULL


cdef void device_forked(Device *device) noexcept nogil:
    cdef State *state = state_of(device)
    if state == NULL:
        return
    if device.ring != NULL:
        ring_forked(<Ring *>device.ring)
    if device.read_ring != NULL:
        ring_forked(<Ring *>device.read_ring)
    if device.ahead_ring != NULL:
        ring_forked(<Ring *>device.ahead_ring)
        device.ahead_ring = NULL
        device.ahead_in_flight = 0
    if device.wake_fd >= 0:
        close(device.wake_fd)
        device.wake_fd = -1
    if state.trace >= 0:
        close(state.trace)
        state.trace = -1


# --------------------------------------------------------------------------------------------------------------- files

cdef int remap(Device *device, DeviceFile *file) noexcept nogil:
    """Under DEVICE_MMAP a log file is mapped as far as it goes."""
    cdef void *memory
    if file.map != NULL:
        munmap(file.map, file.map_bytes)
        file.map = NULL
    file.map_bytes = 0
    if file.size == 0:
        return 0
    memory = mmap(NULL, file.size, PROT_READ if walrus_is_read_only(file.fd) else PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0)
    if memory == MAP_FAILED:
        return -errno
    file.map = <uint8_t *>memory
    file.map_bytes = file.size
    return 0


cdef bint is_mapped(Device *device, int flags) noexcept nogil:
    return device.way == DEVICE_MMAP and flags & FILE_MAP != 0


cdef int file_open(Device *device, DeviceFile *file, const char *name, int flags) noexcept nogil:
    cdef bint direct = not (flags & FILE_BUFFERED) and not is_mapped(device, flags)
    cdef bint made = False
    cdef int64_t size
    cdef int result
    memset(file, 0, sizeof(DeviceFile))
    file.fd = -1
    strncpy(file.name, name, DEVICE_NAME_BYTES - 1)
    if WALRUS_DEBUG:
        result = fault_take(FAULT_OPEN)
        if result < 0:
            return result
    result = transfer_open(device, name, flags, &direct, &made, &state_of(device).alignment_known)
    if result < 0:
        return result
    file.fd = result
    file.direct = direct
    size = walrus_file_size(file.fd)
    if size < 0:
        file_close(device, file)
        return <int>size
    file.size = <uint64_t>size
    file.map_wanted = is_mapped(device, flags)
    if WALRUS_DEBUG:
        file.trace_id = trace_file_id()
        trace_record(state_of(device).trace, TRACE_CREATE if made else TRACE_OPEN, file.trace_id, name,
                     <uint32_t>strlen(name), 0, file.size, NULL)
    result = remap(device, file) if file.map_wanted else 0
    if result < 0:
        file_close(device, file)
    return result


cdef void file_close(Device *device, DeviceFile *file) noexcept nogil:
    if file.map != NULL:
        munmap(file.map, file.map_bytes)
    if file.fd >= 0:
        close(file.fd)
    file.map = NULL
    file.map_bytes = 0
    file.fd = -1


cdef int write_zeros(Device *device, DeviceFile *file, uint64_t begin, uint64_t end) noexcept nogil:
    cdef void *zeros = NULL
    cdef uint64_t bytes
    cdef int result = 0
    if posix_memalign(&zeros, TRANSFER_ALIGNMENT_MAX, ZEROS_BYTES):
        return -ENOMEM
    memset(zeros, 0, ZEROS_BYTES)
    while begin < end and result == 0:
        bytes = end - begin if end - begin < ZEROS_BYTES else ZEROS_BYTES
        result = device_write(device, file, zeros, bytes, begin)
        begin += bytes
    free(zeros)
    return result


cdef int allocate_blocks(Device *device, DeviceFile *file, uint64_t size) noexcept nogil:
    cdef int result = 0
    if WALRUS_DEBUG:
        result = fault_take(FAULT_ALLOCATE)
    while result == 0:
        if fallocate(file.fd, 0, 0, <int64_t>size) == 0:
            return 0
        if errno != EINTR:
            result = -errno
    if result != -EOPNOTSUPP and result != -ENOSYS:
        return result
    # No fallocate here means no holes from file_punch either: what the file has is real, and what it lacks is written.
    return write_zeros(device, file, file.size, size)


cdef int file_allocate(Device *device, DeviceFile *file, uint64_t size) noexcept nogil:
    cdef int result = allocate_blocks(device, file, size)
    if result < 0:
        if walrus_file_size(file.fd) > <int64_t>file.size and ftruncate(file.fd, <int64_t>file.size) == 0:
            if WALRUS_DEBUG:
                trace_record(state_of(device).trace, TRACE_TRUNCATE, file.trace_id, NULL, 0, 0, file.size, NULL)
        return result
    if WALRUS_DEBUG:
        trace_record(state_of(device).trace, TRACE_ALLOCATE, file.trace_id, NULL, 0, 0, size, NULL)
    if size <= file.size:
        return 0
    file.size = size
    return remap(device, file) if file.map_wanted else 0


cdef int file_write_through(Device *device, DeviceFile *file, uint64_t size) noexcept nogil:
    cdef int result = file_allocate(device, file, size)
    if result == 0:
        result = write_zeros(device, file, 0, size)
    return device_flush(device, file) if result == 0 else result


cdef int file_punch(Device *device, DeviceFile *file, uint64_t position, uint64_t bytes) noexcept nogil:
    cdef int result = 0
    if WALRUS_DEBUG:
        result = fault_take(FAULT_PUNCH)
    while result == 0:
        if fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, <int64_t>position, <int64_t>bytes) == 0:
            break
        if errno != EINTR:
            result = -errno
    if WALRUS_DEBUG and result == 0:
        trace_record(state_of(device).trace, TRACE_PUNCH, file.trace_id, NULL, 0, position, bytes, NULL)
    return result


cdef int file_drop_cache(Device *device, DeviceFile *file) noexcept nogil:
    return -posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED)


cdef int device_rename(Device *device, const char *old, const char *new) noexcept nogil:
    cdef int result = 0
    if WALRUS_DEBUG:
        result = fault_take(FAULT_RENAME)
    if result == 0 and renameat(device.directory, old, device.directory, new) < 0:
        result = -errno
    if WALRUS_DEBUG and result == 0:
        trace_rename(state_of(device).trace, old, new)
    return result


cdef int device_unlink(Device *device, const char *name) noexcept nogil:
    cdef int result = 0
    if WALRUS_DEBUG:
        result = fault_take(FAULT_UNLINK)
    if result == 0 and unlinkat(device.directory, name, 0) < 0:
        result = -errno
    if WALRUS_DEBUG and result == 0:
        trace_record(state_of(device).trace, TRACE_UNLINK, 0, name, <uint32_t>strlen(name), 0, 0, NULL)
    return result


cdef int device_sync_directory(Device *device) noexcept nogil:
    cdef uint64_t sequence = 0
    cdef int result = 0
    if WALRUS_DEBUG:
        sequence = trace_record(state_of(device).trace, TRACE_SYNC_DIRECTORY_BEGIN, 0, NULL, 0, 0, 0, NULL)
        result = fault_take(FAULT_DIRECTORY)
    if result == 0 and fsync(device.directory) < 0:
        result = -errno
    if WALRUS_DEBUG:
        trace_end(state_of(device).trace, TRACE_SYNC_DIRECTORY_END, 0, sequence, result)
    return result


# ------------------------------------------------------------------------------------------------------------- blocking

cdef void count_write(Device *device, DeviceFile *file, uint64_t bytes) noexcept nogil:
    walrus_add64(&device.stats.writes, 1)
    walrus_add64(&device.stats.written_bytes, bytes)
    if file.direct:
        walrus_add64(&device.stats.direct_bytes, bytes)


cdef int device_write(Device *device, DeviceFile *file, const void *data, uint64_t bytes, uint64_t position) noexcept nogil:
    cdef uint64_t sequence = 0, limit = bytes
    cdef int result = 0
    if WALRUS_DEBUG:
        sequence = trace_record(state_of(device).trace, TRACE_WRITE_BEGIN, file.trace_id, NULL, 0, position, bytes, data)
        result = fault_take(FAULT_WRITE)
        if result == FAULT_SHORT:
            limit = fault_shorten(bytes, transfer_alignment(device, file))
            result = 0
    if result == 0:
        result = transfer_put(device, file, <const uint8_t *>data, bytes, position, limit)
    if WALRUS_DEBUG:
        trace_end(state_of(device).trace, TRACE_WRITE_END, file.trace_id, sequence, result)
    if result == 0:
        count_write(device, file, bytes)
    return result


cdef int device_flush(Device *device, DeviceFile *file) noexcept nogil:
    cdef uint64_t sequence = 0, began = walrus_monotonic_ns()
    cdef int result = 0
    if WALRUS_DEBUG:
        sequence = trace_record(state_of(device).trace, TRACE_FLUSH_BEGIN, file.trace_id, NULL, 0, 0, 0, NULL)
        result = fault_take(FAULT_FLUSH)
    if result == 0 and fdatasync(file.fd) < 0:
        result = -errno             # also EINTR: what a flush that was cut short did not write is not known
    if WALRUS_DEBUG:
        trace_end(state_of(device).trace, TRACE_FLUSH_END, file.trace_id, sequence, result)
    walrus_add64(&device.stats.flushes, 1)
    walrus_add64(&device.stats.flush_ns, walrus_monotonic_ns() - began)
    return result


cdef int64_t device_read(Device *device, DeviceFile *file, void *buffer, uint64_t bytes, uint64_t position) noexcept nogil:
    cdef uint64_t limit = bytes
    cdef int64_t result = 0
    if WALRUS_DEBUG:
        result = fault_take(FAULT_READ)
        if result == FAULT_SHORT:
            limit = fault_shorten(bytes, transfer_alignment(device, file))
            result = 0
    if result == 0:
        result = transfer_get(device, file, <uint8_t *>buffer, bytes, position, limit)
    walrus_add64(&device.stats.reads, 1)
    if result > 0:
        walrus_add64(&device.stats.read_bytes, <uint64_t>result)
    return result


cdef int device_read_many(Device *device, ReadRange *ranges, uint32_t count) noexcept nogil:
    cdef uint32_t i, done = 0
    if device.way == DEVICE_URING and count > 1:
        walrus_lock(&device.read_lock)
        done = read_ring_many(device, ranges, count, &state_of(device).read_ring_refused)
        walrus_unlock(&device.read_lock)
    for i in range(count):
        if i >= done or ranges[i].result == -EAGAIN:
            ranges[i].result = device_read(device, ranges[i].source, ranges[i].buffer, ranges[i].bytes, ranges[i].position)
    return 0


cdef uint32_t device_read_begin(Device *device, ReadRange *ranges, uint32_t count) noexcept nogil:
    if device.way != DEVICE_URING:
        return 0
    return ahead_ring_begin(device, ranges, count, &state_of(device).ahead_ring_refused)


cdef uint32_t device_read_reap(Device *device, Completion *completions, uint32_t room, bint wait) noexcept nogil:
    return ahead_ring_reap(device, completions, room, wait, &state_of(device).ahead_ring_refused)


# ---------------------------------------------------------------------------------------------------------- not blocking

cdef void done_put(Device *device, uint64_t tag, int64_t result) noexcept nogil:
    cdef State *state = state_of(device)
    cdef Completion *completion = &state.done[(state.done_first + state.done_count) % DEVICE_QUEUE_DEPTH]
    completion.tag = tag
    completion.result = result
    state.done_count += 1


cdef int ring_write(Device *device, DeviceFile *file, const void *data, uint64_t bytes, uint64_t position, uint64_t tag,
                    int fault) noexcept nogil:
    cdef Ring *ring = <Ring *>device.ring
    cdef Transfer *transfer = ring_transfer(ring)
    cdef int result
    if transfer == NULL:
        return -EIO if ring.broken else -EBUSY
    transfer.fd = file.fd
    transfer.writes = True
    transfer.memory = <uint8_t *>data
    transfer.bytes = bytes
    transfer.position = position
    transfer.alignment = transfer_alignment(device, file)
    transfer.tag = tag
    if WALRUS_DEBUG:
        transfer.trace_id = file.trace_id
        transfer.trace_sequence = trace_record(ring.trace, TRACE_WRITE_BEGIN, file.trace_id, NULL, 0, position, bytes, data)
        if fault == FAULT_SHORT:
            transfer.limit = fault_shorten(bytes, transfer.alignment)
    result = ring_queue(ring, transfer)
    if result < 0:
        ring_give_back(ring, transfer)
    return result


cdef int device_queue_write(Device *device, DeviceFile *file, const void *data, uint64_t bytes, uint64_t position,
                            uint64_t tag) noexcept nogil:
    cdef int result, fault = 0
    if device.in_flight >= DEVICE_QUEUE_DEPTH:
        return -EBUSY
    if device.ring == NULL:
        result = device_write(device, file, data, bytes, position)
        done_put(device, tag, result if result < 0 else <int64_t>bytes)
        device.in_flight += 1
        return 0
    if WALRUS_DEBUG:
        fault = fault_take(FAULT_WRITE)
        if fault and fault != FAULT_SHORT:
            trace_end(state_of(device).trace, TRACE_WRITE_END, file.trace_id,
                      trace_record(state_of(device).trace, TRACE_WRITE_BEGIN, file.trace_id, NULL, 0, position, bytes, data),
                      fault)
            done_put(device, tag, fault)
            device.in_flight += 1
            return 0
    result = ring_write(device, file, data, bytes, position, tag, fault)
    if result < 0:
        return result
    count_write(device, file, bytes)
    device.in_flight += 1
    return 0


cdef int device_submit(Device *device) noexcept nogil:
    return ring_submit(<Ring *>device.ring) if device.ring != NULL else 0


cdef uint32_t collect(Device *device, Completion *completions, uint32_t room) noexcept nogil:
    cdef State *state = state_of(device)
    cdef uint32_t count = 0
    while state.done_count and count < room:
        completions[count] = state.done[state.done_first]
        state.done_first = (state.done_first + 1) % DEVICE_QUEUE_DEPTH
        state.done_count -= 1
        count += 1
    if device.ring != NULL:
        count += <uint32_t>ring_collect(<Ring *>device.ring, completions + count, room - count)
    device.in_flight -= count
    return count


cdef int sleep(Device *device, int64_t timeout_ns) noexcept nogil:
    """In the ring, or on wake_fd; sooner or later, or not at all: the caller looks again."""
    cdef pollfd descriptor
    cdef uint64_t value
    walrus_add64(&device.stats.waits, 1)
    if device.ring != NULL:
        return ring_wait(<Ring *>device.ring, timeout_ns)
    descriptor.fd = device.wake_fd
    descriptor.events = POLLIN
    descriptor.revents = 0
    if poll(&descriptor, 1, <int>((timeout_ns + 999999) // 1000000) if timeout_ns >= 0 else -1) < 0:
        return 0 if errno == EINTR else -errno
    if descriptor.revents & POLLIN:
        read(device.wake_fd, &value, 8)
    return 0


cdef int device_reap(Device *device, Completion *completions, uint32_t room, int64_t timeout_ns) noexcept nogil:
    cdef State *state = state_of(device)
    cdef int64_t left = timeout_ns
    cdef uint64_t now, end = 0
    cdef uint32_t count
    cdef int result
    if timeout_ns > 0:
        end = walrus_monotonic_ns() + <uint64_t>timeout_ns
    while True:
        count = collect(device, completions, room)
        if count or timeout_ns == 0:
            return <int>count
        if timeout_ns > 0:
            now = walrus_monotonic_ns()
            if now >= end:
                return 0
            left = <int64_t>(end - now)
        walrus_exchange32(&state.sleeping, 1)
        if walrus_exchange32(&device.wake_pending, 0):
            walrus_store32(&state.sleeping, 0)
            return 0
        result = sleep(device, left)
        walrus_store32(&state.sleeping, 0)
        if result < 0:
            return result


cdef void device_wake(Device *device) noexcept nogil:
    cdef State *state = state_of(device)
    cdef uint64_t one = 1
    if state == NULL:
        return
    walrus_exchange32(&device.wake_pending, 1)
    # Who takes the flag makes the one call; the others' wake_pending is seen when the sleeper looks again.
    if walrus_load32(&state.sleeping) and walrus_exchange32(&state.sleeping, 0):
        write(device.wake_fd, &one, 8)


# -------------------------------------------------------------------------------------------------------------- mapping

cdef int read_first(Device *device, DeviceFile *file, uint64_t bytes) noexcept nogil:
    """An I/O error is an errno here, and would be a SIGBUS in the mapping."""
    cdef void *buffer = NULL
    cdef uint64_t position = 0
    cdef int64_t got = 1
    if posix_memalign(&buffer, TRANSFER_ALIGNMENT_MAX, READ_FIRST_BYTES):
        return -ENOMEM
    while position < bytes and got > 0:
        got = device_read(device, file, buffer, READ_FIRST_BYTES, position)
        position += READ_FIRST_BYTES
    free(buffer)
    return <int>got if got < 0 else 0


cdef int device_map(Device *device, DeviceFile *file, uint64_t bytes, uint64_t reserve_bytes, bint populate,
                    uint8_t **memory) noexcept nogil:
    cdef bint read_only = walrus_is_read_only(file.fd)
    cdef void *mapped
    cdef int result = 0
    memory[0] = NULL
    if reserve_bytes < bytes:
        return -EINVAL
    if WALRUS_DEBUG:
        result = fault_take(FAULT_MAP)
    if result == 0:
        result = read_first(device, file, bytes)
    if result < 0:
        return result
    mapped = mmap(NULL, reserve_bytes, PROT_READ if read_only else PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0)
    if mapped == MAP_FAILED:
        return -errno
    # Before Linux 5.14 there is no way to make all pages writable at once: the first stores fault them in, that is all.
    if populate and not read_only:
        madvise(mapped, bytes, MADV_POPULATE_WRITE)
    if WALRUS_DEBUG:
        trace_record(state_of(device).trace, TRACE_MAP, file.trace_id, NULL, 0, 0, reserve_bytes, NULL)
    memory[0] = <uint8_t *>mapped
    return 0
