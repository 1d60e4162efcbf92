"""Ring: one io_uring, its transfers, its sleep.

Set-up asks for the newest flags first and goes back, on EINVAL, to what older kernels know: 6.1 SINGLE_ISSUER |
DEFER_TASKRUN, 6.0 SINGLE_ISSUER | COOP_TASKRUN, 5.19 COOP_TASKRUN, 5.6 none. Less is not enough: READ and WRITE are of
5.6. The debug build's fault `ring:1:EINVAL` forces each step.

Invariants:
  - A transfer is reported once, whole or failed. Short ones are continued, EAGAIN and EINTR submitted again, a bounded number of
    times.
  - There are no more transfers than entries, and twice as many completions: those cannot overflow.
  - Memory of a transfer, and the ring itself, are not given back while the kernel may store into them.
  - The read of wake_fd is in the kernel's hands before ring_wait sleeps, so a write to wake_fd ends the sleep.

Threads: one at a time; with SINGLE_ISSUER always the same. No GIL.
"""
from walrus._libc cimport (EAGAIN, EBUSY, EINTR, EINVAL, EIO, ENOMEM, ENOSYS, ETIME, ETIMEDOUT, POLLIN, WALRUS_DEBUG, calloc,
                           close, free, malloc, memset, poll, pollfd, read, usleep, walrus_add64, walrus_max64, write)
from walrus._rules cimport RULE_OPEN_WAITS, rule_broken
from walrus._trace cimport (FAULT_COMPLETE, FAULT_RING, FAULT_SHORT, FAULT_SUBMIT, TRACE_WRITE_END, fault_shorten, fault_take,
                            trace_end)
from walrus._uring cimport (IORING_OP_READ, IORING_OP_WRITE, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_DEFER_TASKRUN,
                            IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_TASKRUN_FLAG, __kernel_timespec, io_uring_cqe,
                            io_uring_cqe_seen, io_uring_free_probe, io_uring_get_probe_ring, io_uring_get_sqe,
                            io_uring_opcode_supported, io_uring_params, io_uring_peek_cqe, io_uring_prep_read,
                            io_uring_prep_write, io_uring_probe, io_uring_queue_exit, io_uring_queue_init_params,
                            io_uring_register_files, io_uring_ring_dontfork, io_uring_sq_ready, io_uring_sqe,
                            io_uring_sqe_set_data64, io_uring_submit, io_uring_submit_and_wait_timeout, io_uring_wait_cqe)

cdef enum:
    ENTRIES_MIN = 64
    TRANSFER_BYTES_MAX = 1 << 30    # of one SQE; its length has 32 bits
    RETRIES_MAX = 1000
    RETRY_US = 1000
    WAKE_TAG = 0xffffffff           # no index of a transfer


# --------------------------------------------------------------------------------------------------------------- set-up

cdef int set_up(Ring *ring, uint32_t entries, int threads) noexcept nogil:
    """With the newest flags that the kernel takes; fewer entries where they cannot be locked."""
    cdef uint32_t[4] choices
    cdef io_uring_params parameters
    cdef int at = threads
    cdef int result
    choices[0] = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    choices[1] = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    choices[2] = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    choices[3] = 0
    while True:
        memset(&parameters, 0, sizeof(parameters))
        parameters.flags = choices[at]
        result = 0
        if WALRUS_DEBUG:
            result = fault_take(FAULT_RING)
        if result == 0:
            result = io_uring_queue_init_params(entries, &ring.uring, &parameters)
        if result == -EINVAL and at < 3:
            at += 1
        elif result == -ENOMEM and entries > ENTRIES_MIN:
            entries //= 2
        else:
            break
    if result < 0:
        return result
    ring.flags = choices[at]
    ring.entries = parameters.sq_entries
    return 0


cdef bint can_transfer(Ring *ring) noexcept nogil:
    cdef io_uring_probe *probe = io_uring_get_probe_ring(&ring.uring)
    cdef bint yes
    if probe == NULL:
        return False
    yes = io_uring_opcode_supported(probe, IORING_OP_READ) and io_uring_opcode_supported(probe, IORING_OP_WRITE)
    io_uring_free_probe(probe)
    return yes


cdef int prepare(Ring *ring, int lock_fd) noexcept nogil:
    """What a ring needs besides being there."""
    cdef uint32_t i
    cdef int result
    if not can_transfer(ring):
        return -ENOSYS
    result = io_uring_ring_dontfork(&ring.uring)
    if result == 0 and lock_fd >= 0 and not (WALRUS_DEBUG and rule_broken(RULE_OPEN_WAITS)):
        # open_waits: the ring keeps the lock's file until its last write has ended, also when the process is killed.
        result = io_uring_register_files(&ring.uring, &lock_fd, 1)
    if result < 0:
        return result
    ring.transfers = <Transfer *>calloc(ring.entries, sizeof(Transfer))
    ring.free_transfers = <uint32_t *>malloc(ring.entries * sizeof(uint32_t))
    if ring.transfers == NULL or ring.free_transfers == NULL:
        return -ENOMEM
    for i in range(ring.entries):
        ring.free_transfers[i] = ring.entries - 1 - i
    ring.free_count = ring.entries
    return 0


cdef void discard(Ring *ring) noexcept nogil:
    free(ring.transfers)
    free(ring.free_transfers)
    free(ring)


cdef int ring_make(Ring **made, uint32_t entries, int threads, int lock_fd, int wake_fd, DeviceStats *stats,
                   int trace) noexcept nogil:
    cdef Ring *ring = <Ring *>calloc(1, sizeof(Ring))
    cdef int result
    made[0] = NULL
    if ring == NULL:
        return -ENOMEM
    ring.stats = stats
    ring.trace = trace
    ring.wake_fd = wake_fd
    result = set_up(ring, entries, threads)
    if result < 0:
        free(ring)
        return result
    result = prepare(ring, lock_fd)
    if result < 0:
        io_uring_queue_exit(&ring.uring)
        discard(ring)
        return result
    made[0] = ring
    return 0


cdef void ring_free(Ring *ring) noexcept nogil:
    cdef Completion completions[16]
    cdef io_uring_cqe *cqe
    cdef uint64_t one = 1
    ring.stopping = True
    if ring.uring.ring_fd >= 0:
        if ring.wake_armed:
            while write(ring.wake_fd, &one, 8) < 0:
                usleep(RETRY_US)
        while ring_in_kernel(ring):
            if ring_collect(ring, completions, 16) == 0 and ring_in_kernel(ring):
                io_uring_wait_cqe(&ring.uring, &cqe)
        io_uring_queue_exit(&ring.uring)
    discard(ring)


cdef void ring_forked(Ring *ring) noexcept nogil:
    """In the child: its memory is not mapped there (dontfork), so only the descriptor is given back."""
    if ring.uring.ring_fd >= 0:
        close(ring.uring.ring_fd)
    ring.uring.ring_fd = -1


# ------------------------------------------------------------------------------------------------------------ submitting

cdef uint64_t ring_in_kernel(Ring *ring) noexcept nogil:
    return ring.queued - ring.seen - io_uring_sq_ready(&ring.uring)


cdef void count_submission(Ring *ring, uint32_t submitted) noexcept nogil:
    walrus_add64(&ring.stats.submissions, 1)
    walrus_add64(&ring.stats.submitted, submitted)
    walrus_max64(&ring.stats.submitted_max, submitted)


cdef int ring_submit(Ring *ring) noexcept nogil:
    cdef uint32_t ready, tries = 0
    cdef int result
    while not ring.broken:
        ready = io_uring_sq_ready(&ring.uring)
        if ready == 0:
            return 0
        result = 0
        if WALRUS_DEBUG:
            result = fault_take(FAULT_SUBMIT)
        if result == 0:
            result = io_uring_submit(&ring.uring)
        if result > 0:
            count_submission(ring, ready - io_uring_sq_ready(&ring.uring))
            continue
        if (result == 0 or result == -EAGAIN or result == -EINTR or result == -EBUSY) and tries < RETRIES_MAX:
            tries += 1              # the kernel is short of memory for requests: they are finite, ours among them
            usleep(RETRY_US)
            continue
        ring.broken = True
        return result if result < 0 else -EBUSY
    return -EIO


cdef io_uring_sqe *entry_take(Ring *ring) noexcept nogil:
    cdef io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring)
    if sqe == NULL and ring_submit(ring) == 0:
        sqe = io_uring_get_sqe(&ring.uring)
    if sqe != NULL:
        ring.queued += 1
    return sqe


cdef Transfer *ring_transfer(Ring *ring) noexcept nogil:
    cdef Transfer *transfer
    if ring.free_count == 0 or ring.broken:
        return NULL
    ring.free_count -= 1
    transfer = &ring.transfers[ring.free_transfers[ring.free_count]]
    memset(transfer, 0, sizeof(Transfer))
    transfer.alignment = 1
    return transfer


cdef void ring_give_back(Ring *ring, Transfer *transfer) noexcept nogil:
    ring.free_transfers[ring.free_count] = <uint32_t>(transfer - ring.transfers)
    ring.free_count += 1


cdef int ring_queue(Ring *ring, Transfer *transfer) noexcept nogil:
    """What is left of it. The caller submits."""
    cdef uint64_t left = transfer.bytes - transfer.done
    cdef io_uring_sqe *sqe = NULL if ring.broken else entry_take(ring)
    if sqe == NULL:
        return -EIO if ring.broken else -EBUSY
    if transfer.limit and transfer.limit < left:
        left = transfer.limit
    transfer.limit = 0
    if left > TRANSFER_BYTES_MAX:
        left = TRANSFER_BYTES_MAX
    if transfer.writes:
        io_uring_prep_write(sqe, transfer.fd, transfer.memory + transfer.done, <unsigned>left, transfer.position + transfer.done)
    else:
        io_uring_prep_read(sqe, transfer.fd, transfer.memory + transfer.done, <unsigned>left, transfer.position + transfer.done)
    io_uring_sqe_set_data64(sqe, <uint64_t>(transfer - ring.transfers))
    return 0


# ------------------------------------------------------------------------------------------------------------ completing

cdef int64_t advance(Ring *ring, Transfer *transfer, int64_t result) noexcept nogil:
    """A completion of it: its final result, or -EAGAIN when the rest is to be queued."""
    cdef uint64_t before = transfer.done
    if result == -EAGAIN or result == -EINTR:
        transfer.retries += 1
        return -EAGAIN if transfer.retries <= RETRIES_MAX else -EIO
    if result < 0:
        return result
    if result == 0:
        return -EIO if transfer.writes else <int64_t>before
    transfer.done += <uint64_t>result
    if transfer.done >= transfer.bytes:
        return <int64_t>transfer.done
    if transfer.done % transfer.alignment:
        if not transfer.writes:
            return <int64_t>transfer.done       # only a file's end is not aligned
        transfer.done -= transfer.done % transfer.alignment
        if transfer.done == before:
            return -EIO
    walrus_add64(&ring.stats.short_transfers, 1)
    return -EAGAIN


cdef int64_t injected(Transfer *transfer, int64_t result) noexcept nogil:
    cdef int fault = fault_take(FAULT_COMPLETE)
    if fault == FAULT_SHORT and result > 0:
        return <int64_t>fault_shorten(<uint64_t>result, transfer.alignment)
    return fault if fault and fault != FAULT_SHORT else result


cdef void arm_wake(Ring *ring) noexcept nogil:
    """Queued only: ring_wait submits it with what it waits for."""
    cdef io_uring_sqe *sqe
    if ring.wake_fd < 0 or ring.wake_armed or ring.stopping:
        return
    sqe = entry_take(ring)
    if sqe == NULL:
        return
    io_uring_prep_read(sqe, ring.wake_fd, &ring.wake_value, 8, 0)
    io_uring_sqe_set_data64(sqe, WAKE_TAG)
    ring.wake_armed = True


cdef int ring_collect(Ring *ring, Completion *completions, uint32_t room) noexcept nogil:
    cdef io_uring_cqe *cqe = NULL
    cdef Transfer *transfer
    cdef int64_t result
    cdef uint64_t tag
    cdef uint32_t count = 0
    cdef bint goes_on = False
    while count < room and io_uring_peek_cqe(&ring.uring, &cqe) == 0 and cqe != NULL:
        tag = cqe.user_data
        result = cqe.res
        io_uring_cqe_seen(&ring.uring, cqe)
        ring.seen += 1
        if tag == WAKE_TAG:
            ring.wake_armed = False
            continue
        transfer = &ring.transfers[tag]
        if WALRUS_DEBUG:
            result = injected(transfer, result)
        result = advance(ring, transfer, result)
        if result == -EAGAIN:
            result = ring_queue(ring, transfer)
            if result == 0:
                goes_on = True
                continue
        completions[count].tag = transfer.tag
        completions[count].result = result
        count += 1
        if WALRUS_DEBUG and transfer.writes:
            trace_end(ring.trace, TRACE_WRITE_END, transfer.trace_id, transfer.trace_sequence,
                      <int>result if result < 0 else 0)
        ring_give_back(ring, transfer)
    if goes_on:
        ring_submit(ring)
    return <int>count


cdef int wait_broken(Ring *ring, int64_t timeout_ns) noexcept nogil:
    """Nothing is to be submitted any more, but what the kernel has completes, and the thread can be woken."""
    cdef pollfd descriptors[2]
    cdef uint64_t value
    descriptors[0] = pollfd(ring.uring.ring_fd, POLLIN, 0)
    descriptors[1] = pollfd(ring.wake_fd, POLLIN, 0)
    poll(descriptors, 2, <int>(timeout_ns // 1000000) if timeout_ns >= 0 else -1)
    if descriptors[1].revents & POLLIN and not ring.wake_armed:
        read(ring.wake_fd, &value, 8)
    return 0


cdef int ring_wait(Ring *ring, int64_t timeout_ns) noexcept nogil:
    cdef __kernel_timespec time
    cdef io_uring_cqe *cqe = NULL
    cdef uint32_t ready
    cdef int result
    if ring.broken:
        return wait_broken(ring, timeout_ns)
    arm_wake(ring)
    ready = io_uring_sq_ready(&ring.uring)
    time.tv_sec = timeout_ns // 1000000000
    time.tv_nsec = timeout_ns % 1000000000
    result = io_uring_submit_and_wait_timeout(&ring.uring, &cqe, 1, &time if timeout_ns >= 0 else NULL, NULL)
    if ready != io_uring_sq_ready(&ring.uring):
        count_submission(ring, ready - io_uring_sq_ready(&ring.uring))
    if result == -ETIME or result == -ETIMEDOUT or result == -EINTR or result == -EAGAIN or result == -EBUSY:
        return 0
    return result if result < 0 else 0
