"""Ring: io_uring set up for the kernel at hand, writes and reads that arrive whole, and a sleep that an eventfd ends.

Layer: devices; used by _device only.
"""
from walrus._device_types cimport Completion, DeviceStats
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._uring cimport io_uring

cdef enum:                          # the first set of flags that is tried
    RING_ONE_THREAD = 0             # all calls come from this thread
    RING_SUBMITTER_WAITS = 2        # any thread, but who submits also waits
    RING_ANY_WAITS = 3              # completions come whatever their submitter does meanwhile

ctypedef struct Transfer:           # one write or read on its way
    int fd
    bint writes
    uint8_t *memory
    uint64_t bytes
    uint64_t done
    uint64_t position
    uint64_t alignment              # to which a short transfer is continued: that of O_DIRECT, or 1
    uint64_t limit                  # of the first submission (a fault of the debug build), 0: none
    uint64_t tag
    uint32_t retries
    uint32_t trace_id
    uint64_t trace_sequence

ctypedef struct Ring:
    io_uring uring
    uint32_t flags                  # of io_uring_setup, as granted
    uint32_t entries
    Transfer *transfers             # as many as entries: completions cannot overflow
    uint32_t *free_transfers
    uint32_t free_count
    uint64_t queued                 # SQEs ever taken
    uint64_t seen                   # CQEs ever seen
    DeviceStats *stats
    int trace
    int wake_fd                     # or -1: nobody wakes this one
    uint64_t wake_value             # where the kernel reads wake_fd to
    bint wake_armed
    bint stopping
    bint broken                     # a submission failed for good: nothing is submitted any more

# A ring of `entries`, or of fewer where memory may not be locked. `threads`: one of RING_*. A negative errno says why there is none.
cdef int ring_make(Ring **made, uint32_t entries, int threads, int lock_fd, int wake_fd, DeviceStats *stats,
                   int trace) noexcept nogil
# Waits until the kernel has none of its memory in hand, then frees all.
cdef void ring_free(Ring *ring) noexcept nogil
cdef void ring_forked(Ring *ring) noexcept nogil
# A transfer to fill in and then to hand to ring_queue; NULL: all are in use.
cdef Transfer *ring_transfer(Ring *ring) noexcept nogil
cdef void ring_give_back(Ring *ring, Transfer *transfer) noexcept nogil
cdef int ring_queue(Ring *ring, Transfer *transfer) noexcept nogil
cdef int ring_submit(Ring *ring) noexcept nogil
# Whole or failed transfers; continues short ones. Does not wait.
cdef int ring_collect(Ring *ring, Completion *completions, uint32_t room) noexcept nogil
# Submits what is queued and waits for a completion or wake_fd, up to timeout_ns (-1: for ever). 0, also on a time-out.
cdef int ring_wait(Ring *ring, int64_t timeout_ns) noexcept nogil
# SQEs that the kernel has taken and not completed.
cdef uint64_t ring_in_kernel(Ring *ring) noexcept nogil
