"""The seam of the debug build: a trace of everything that changes the disk, and faults that tests ask for.

Layer: devices. Everything here is called behind `if WALRUS_DEBUG`, so a release build has none of it. Format: docs/trace.md.
"""
from walrus._libc cimport uint32_t, uint64_t

cdef enum:
    TRACE_MAGIC = 0x52545257        # "WRTR"
    TRACE_OPEN_LOG = 1
    TRACE_CREATE = 2
    TRACE_OPEN = 3
    TRACE_WRITE_BEGIN = 4
    TRACE_WRITE_END = 5
    TRACE_FLUSH_BEGIN = 6
    TRACE_FLUSH_END = 7
    TRACE_ALLOCATE = 8
    TRACE_TRUNCATE = 9
    TRACE_PUNCH = 10
    TRACE_RENAME = 11
    TRACE_UNLINK = 12
    TRACE_SYNC_DIRECTORY_BEGIN = 13
    TRACE_SYNC_DIRECTORY_END = 14
    TRACE_MAP = 15

    FAULT_WRITE = 0                 # their names: kind_name
    FAULT_FLUSH = 1
    FAULT_READ = 2
    FAULT_ALLOCATE = 3
    FAULT_RENAME = 4
    FAULT_OPEN = 5
    FAULT_MAP = 6
    FAULT_SUBMIT = 7
    FAULT_COMPLETE = 8
    FAULT_UNLINK = 9
    FAULT_DIRECTORY = 10
    FAULT_PUNCH = 11
    FAULT_RING = 12                 # an attempt to make a ring: forces the fallbacks to older kernels
    FAULT_DIRECT = 13               # opening with O_DIRECT
    FAULT_ALIGNMENT = 14            # statx(STATX_DIOALIGN)
    FAULT_KINDS = 15
    FAULT_SHORT = -100000           # of fault_take: transfer less than was asked for

# File descriptor of the trace that WALRUS_TRACE names, or -1. Looks at WALRUS_FAULT too: what changed in it takes effect.
cdef int trace_open() noexcept nogil
cdef uint32_t trace_file_id() noexcept nogil
# One record with a new sequence number, which is returned; 0 and nothing if `fd` is -1. Data are `bytes` at `data`, if not NULL.
cdef uint64_t trace_record(int fd, uint32_t op, uint32_t file, const char *name, uint32_t name_bytes, uint64_t position,
                           uint64_t bytes, const void *data) noexcept nogil
# An ..._END record of the record `sequence`.
cdef void trace_end(int fd, uint32_t op, uint32_t file, uint64_t sequence, int result) noexcept nogil
# Both names, a NUL between.
cdef void trace_rename(int fd, const char *old, const char *new) noexcept nogil

# 0, FAULT_SHORT or a negative errno: what shall befall this operation. Counts it.
cdef int fault_take(int kind) noexcept nogil
# `bytes` shortened to about half, a multiple of `alignment`; unchanged where that would be nothing.
cdef uint64_t fault_shorten(uint64_t bytes, uint64_t alignment) noexcept nogil
# Replaces all faults, counts from 1 again. NULL or "": none. -EINVAL: not understood, and then there are none.
cdef int trace_set_faults(const char *text) noexcept nogil
