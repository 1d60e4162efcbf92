"""What the device layer is about: its ways, its limits, and the structs that its modules share.

Layer: devices. Declarations only; users take them from _device.pxd, the parts that _device is made of from here.
"""
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    DEVICE_AUTO = 0
    DEVICE_URING = 1
    DEVICE_PWRITE = 2
    DEVICE_MMAP = 3
    DEVICE_QUEUE_DEPTH = 2048       # entries of a ring: 2,000 in one submission
    DEVICE_BATCH_MAX = 2000
    DEVICE_NAME_BYTES = 64

    FILE_CREATE = 1                 # make it if missing
    FILE_EXCLUSIVE = 2              # must not exist
    FILE_READ_ONLY = 4
    FILE_MAP = 8                    # under DEVICE_MMAP: map it, writes are copies (log files); else ignored
    FILE_BUFFERED = 16              # no O_DIRECT (unaligned access)

ctypedef struct DeviceFile:
    int fd                          # O_DIRECT where that is to be had and was not declined; -1 closed
    bint direct
    uint64_t size
    uint8_t *map                    # whole file, under DEVICE_MMAP and FILE_MAP; else NULL
    uint64_t map_bytes
    bint map_wanted                 # under DEVICE_MMAP and FILE_MAP
    uint32_t trace_id
    char name[64]

ctypedef struct DeviceStats:        # counters since open; each stored with walrus_add64 or by its one owner
    uint64_t writes
    uint64_t written_bytes
    uint64_t direct_bytes           # of them by O_DIRECT
    uint64_t reads
    uint64_t read_bytes
    uint64_t flushes
    uint64_t flush_ns
    uint64_t submissions            # io_uring_submit calls
    uint64_t submitted              # SQEs in all
    uint64_t submitted_max          # most SQEs in one submission
    uint64_t short_transfers        # continued
    uint64_t waits                  # times the I/O thread slept

ctypedef struct Completion:
    uint64_t tag
    int64_t result                  # bytes, all that was asked for; or a negative errno

ctypedef struct ReadRange:
    DeviceFile *source
    void *buffer
    uint64_t bytes
    uint64_t position
    uint64_t tag                    # of device_read_begin: comes back in a Completion
    int64_t result                  # filled: bytes read (short only at the file's end) or a negative errno

ctypedef struct Device:
    int way                         # DEVICE_URING, DEVICE_PWRITE or DEVICE_MMAP: what is in use
    int asked                       # what was asked for
    int directory                   # fd
    int fallback_errno              # why io_uring was refused, 0 if it was not
    bint direct_refused             # some file had to do without O_DIRECT
    uint32_t alignment              # of memory, position and size for O_DIRECT (statx), at least 512; 4096 when unknown
    int wake_fd
    uint32_t wake_pending
    DeviceStats stats
    void *ring                      # of the I/O thread; private to _device
    void *read_ring                 # of readers, made at first use, under read_lock
    uint32_t read_lock
    void *ahead_ring                # of reads that nobody waits for, made at first use, under the caller's lock
    uint32_t ahead_in_flight
    uint32_t in_flight
    void *private_state             # queue of completions of the ways without a ring, trace, faults
