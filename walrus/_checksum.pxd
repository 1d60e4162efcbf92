"""CRC32C (Castagnoli): inline for short data, ISA-L for long, a table where neither is to be had.

Layer: bytes. Pure functions; any thread, no GIL.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t

# Continue `crc` (0 to begin) over `length` bytes: crc32c(crc32c(0, a), b) == crc32c(0, a + b).
cdef uint32_t crc32c(uint32_t crc, const void *data, uint64_t length) noexcept nogil
# memcpy and checksum of the source in one call.
cdef uint32_t crc32c_copy(uint32_t crc, void *target, const void *source, uint64_t length) noexcept nogil
# "isa-l+sse4.2", "sse4.2", "armv8", "table": what crc32c uses on this machine.
cdef const char *crc32c_implementation() noexcept nogil
# Test only: 1 forces the portable table, 0 gives the fast way back.
cdef void crc32c_force_portable(bint on) noexcept nogil
