"""Transfers by system calls: what _device is made of where there is no ring.

Layer: devices; used by _device and _read_ring only.
"""
from walrus._device_types cimport Device, DeviceFile
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    TRANSFER_ALIGNMENT_MAX = 4096   # what callers align memory, sizes and positions to

# To what a short transfer of this file is continued: the alignment of O_DIRECT, or 1.
cdef uint64_t transfer_alignment(Device *device, DeviceFile *file) noexcept nogil
# A descriptor. *direct: in, whether O_DIRECT is wanted; out, whether it is in use. *made: the file is new.
cdef int transfer_open(Device *device, const char *name, int flags, bint *direct, bint *made,
                       uint32_t *alignment_known) noexcept nogil
# All of it, by memcpy into a mapped file or by pwrites. The first one writes at most `limit`.
cdef int transfer_put(Device *device, DeviceFile *file, const uint8_t *data, uint64_t bytes, uint64_t position,
                      uint64_t limit) noexcept nogil
# Bytes read, short only at the file's end.
cdef int64_t transfer_get(Device *device, DeviceFile *file, uint8_t *buffer, uint64_t bytes, uint64_t position,
                          uint64_t limit) noexcept nogil
