"""Many reads in one submission, waited for or not: the two rings of readers, made at first use.

Invariants. read_ring_many returns only when the kernel has none of the caller's memory, whatever failed; what the ring could not
do is left as -EAGAIN, and _device reads it by pread. ahead_ring_begin returns at once; what it says to be on its way is in the
kernel's hands until ahead_ring_reap has given its tag back, or has said that nothing is on its way any more.

Threads: any, one at a time on a ring: under Device.read_lock, and under the lock of who reads ahead. The rings are not
SINGLE_ISSUER. No GIL, nothing raises.
"""
from walrus._device_types cimport DEVICE_BATCH_MAX, DEVICE_QUEUE_DEPTH, Completion
from walrus._libc cimport (EAGAIN, WALRUS_DEBUG, int64_t, uint32_t, uint64_t, uint8_t, walrus_add64)
from walrus._ring cimport (RING_ANY_WAITS, RING_SUBMITTER_WAITS, Ring, Transfer, ring_collect, ring_free, ring_give_back,
                           ring_in_kernel, ring_make, ring_queue, ring_submit, ring_transfer, ring_wait)
from walrus._trace cimport (FAULT_READ, FAULT_SHORT, fault_shorten, fault_take)
from walrus._transfer cimport transfer_alignment

cdef enum:
    COLLECT_MAX = 64
    AHEAD_DEPTH = 512
    NO_TIMEOUT = -1


cdef Ring *ring_of(Device *device, void **slot, uint32_t entries, int threads, bint *refused) noexcept nogil:
    cdef Ring *ring = NULL
    if slot[0] == NULL and not refused[0]:
        if ring_make(&ring, entries, threads, -1, -1, &device.stats, -1) < 0:
            refused[0] = True
        slot[0] = ring
    return <Ring *>slot[0]


cdef void range_end(Device *device, ReadRange *range_, int64_t result) noexcept nogil:
    range_.result = result
    walrus_add64(&device.stats.reads, 1)
    if result > 0:
        walrus_add64(&device.stats.read_bytes, <uint64_t>result)


cdef bint range_queue(Device *device, Ring *ring, ReadRange *range_, uint64_t tag) noexcept nogil:
    """False: it needs no submission, it has its result or has to be read by pread (-EAGAIN)."""
    cdef Transfer *transfer
    cdef int fault = 0
    range_.result = -EAGAIN
    if WALRUS_DEBUG:
        fault = fault_take(FAULT_READ)
        if fault and fault != FAULT_SHORT:
            range_end(device, range_, fault)
            return False
    if range_.bytes == 0:
        range_end(device, range_, 0)
        return False
    transfer = ring_transfer(ring)
    if transfer == NULL:
        return False
    transfer.fd = range_.source.fd
    transfer.memory = <uint8_t *>range_.buffer
    transfer.bytes = range_.bytes
    transfer.position = range_.position
    transfer.alignment = transfer_alignment(device, range_.source)
    transfer.tag = tag
    if WALRUS_DEBUG and fault == FAULT_SHORT:
        transfer.limit = fault_shorten(range_.bytes, transfer.alignment)
    if ring_queue(ring, transfer) < 0:
        ring_give_back(ring, transfer)
        return False
    return True


cdef void read_batch(Device *device, Ring *ring, ReadRange *ranges, uint32_t count) noexcept nogil:
    """One submission. Returns only when the kernel has none of the caller's memory; what could not be submitted is -EAGAIN."""
    cdef Completion completions[64]
    cdef uint32_t i, left = 0
    cdef int n, at
    for i in range(count):
        if range_queue(device, ring, &ranges[i], i):
            left += 1
    ring_submit(ring)
    while left if not ring.broken else ring_in_kernel(ring):
        n = ring_collect(ring, completions, COLLECT_MAX)
        for at in range(n):
            range_end(device, &ranges[completions[at].tag], completions[at].result)
        left -= <uint32_t>n
        if n == 0:
            ring_wait(ring, NO_TIMEOUT)


cdef uint32_t read_ring_many(Device *device, ReadRange *ranges, uint32_t count, bint *refused) noexcept nogil:
    cdef Ring *ring = ring_of(device, &device.read_ring, DEVICE_QUEUE_DEPTH, RING_SUBMITTER_WAITS, refused)
    cdef uint32_t batch, done = 0
    while ring != NULL and done < count:
        batch = count - done
        batch = batch if batch < DEVICE_BATCH_MAX else DEVICE_BATCH_MAX
        batch = batch if batch < ring.entries else ring.entries
        read_batch(device, ring, ranges + done, batch)
        done += batch
        if ring.broken:
            ring_free(ring)
            device.read_ring = NULL
            ring = NULL
            refused[0] = True
    return done


# ------------------------------------------------------------------------------------------------------ not waited for

cdef uint32_t ahead_ring_begin(Device *device, ReadRange *ranges, uint32_t count, bint *refused) noexcept nogil:
    cdef Ring *ring = ring_of(device, &device.ahead_ring, AHEAD_DEPTH, RING_ANY_WAITS, refused)
    cdef uint32_t begun = 0
    if ring == NULL:
        return 0
    while begun < count and range_queue(device, ring, &ranges[begun], ranges[begun].tag):
        begun += 1
    device.ahead_in_flight += begun
    ring_submit(ring)
    return begun


cdef uint32_t ahead_ring_reap(Device *device, Completion *completions, uint32_t room, bint wait, bint *refused) noexcept nogil:
    cdef Ring *ring = <Ring *>device.ahead_ring
    cdef uint32_t i, n = 0
    if ring == NULL:
        return 0
    while device.ahead_in_flight:
        n = <uint32_t>ring_collect(ring, completions, room)
        if n or not wait:
            break
        if ring.broken and not ring_in_kernel(ring):
            ring_free(ring)
            device.ahead_ring = NULL
            device.ahead_in_flight = 0
            refused[0] = True
            break
        ring_wait(ring, NO_TIMEOUT)
    for i in range(n):
        walrus_add64(&device.stats.reads, 1)
        if completions[i].result > 0:
            walrus_add64(&device.stats.read_bytes, <uint64_t>completions[i].result)
    device.ahead_in_flight -= n
    return n
