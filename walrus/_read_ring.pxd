"""Many scattered reads by a ring of their own.

Layer: devices; used by _device only.
"""
from walrus._device_types cimport Device, ReadRange
from walrus._libc cimport uint32_t

# How many of the ranges it dealt with, from the first; of these, those with the result -EAGAIN are still to be read.
cdef uint32_t read_ring_many(Device *device, ReadRange *ranges, uint32_t count, bint *refused) noexcept nogil
