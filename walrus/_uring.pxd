"""liburing: only what _ring uses. Extern only.

Layer: declarations. Threads: a ring has one user at a time; no GIL.
"""
from walrus._libc cimport int32_t, uint64_t

cdef extern from "liburing.h" nogil:
    struct io_uring_sqe:
        pass
    struct io_uring_cqe:
        uint64_t user_data
        int32_t res
    struct io_uring:
        int ring_fd
    struct io_uring_params:
        unsigned sq_entries
        unsigned flags
    struct io_uring_probe:
        pass
    struct __kernel_timespec:
        long long tv_sec
        long long tv_nsec
    const unsigned IORING_SETUP_COOP_TASKRUN, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER
    const unsigned IORING_SETUP_TASKRUN_FLAG
    const int IORING_OP_READ, IORING_OP_WRITE

    int io_uring_queue_init_params(unsigned entries, io_uring *ring, io_uring_params *parameters)
    void io_uring_queue_exit(io_uring *ring)
    int io_uring_ring_dontfork(io_uring *ring)
    int io_uring_register_files(io_uring *ring, const int *files, unsigned count)
    io_uring_probe *io_uring_get_probe_ring(io_uring *ring)
    int io_uring_opcode_supported(const io_uring_probe *probe, int opcode)
    void io_uring_free_probe(io_uring_probe *probe)

    io_uring_sqe *io_uring_get_sqe(io_uring *ring)
    void io_uring_prep_read(io_uring_sqe *sqe, int fd, void *buffer, unsigned bytes, uint64_t position)
    void io_uring_prep_write(io_uring_sqe *sqe, int fd, const void *buffer, unsigned bytes, uint64_t position)
    void io_uring_sqe_set_data64(io_uring_sqe *sqe, uint64_t data)
    unsigned io_uring_sq_ready(const io_uring *ring)
    int io_uring_submit(io_uring *ring)
    int io_uring_submit_and_wait_timeout(io_uring *ring, io_uring_cqe **cqe, unsigned count, __kernel_timespec *timeout,
                                         void *signals)
    int io_uring_peek_cqe(io_uring *ring, io_uring_cqe **cqe)
    int io_uring_wait_cqe(io_uring *ring, io_uring_cqe **cqe)
    void io_uring_cqe_seen(io_uring *ring, io_uring_cqe *cqe)
