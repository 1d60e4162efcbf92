"""Many reads in one submission, by rings of the readers' own.

Layer: devices; used by _device only.
"""
from walrus._device_types cimport Completion, Device, ReadRange
from walrus._libc cimport uint32_t

# How many of the ranges it dealt with, from the first; of these, those with the result -EAGAIN are still to be read.
cdef uint32_t read_ring_many(Device *device, ReadRange *ranges, uint32_t count, bint *refused) noexcept nogil
# device_read_begin and device_read_reap, where there is a ring.
cdef uint32_t ahead_ring_begin(Device *device, ReadRange *ranges, uint32_t count, bint *refused) noexcept nogil
cdef uint32_t ahead_ring_reap(Device *device, Completion *completions, uint32_t room, bint wait, bint *refused) noexcept nogil
