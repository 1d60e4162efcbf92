"""Catalog changes as they stand in a journal record: topics, cursors, low watermarks, truncations, marks, options.

Layer: bytes. Byte table: head of _changes.pyx and docs/format.md. The record's header checksum covers them.
"""
from walrus._libc cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    CHANGE_TOPIC = 1                # id topic_id has `name`
    CHANGE_CURSOR = 2               # cursor `cursor_id` of topic_id, called `name`, stands at value
    CHANGE_LOW = 4                  # low watermark is value
    CHANGE_CUT = 5                  # truncated to value, with new epoch `extra`
    CHANGE_CLEAN = 6                # value 1 clean, 0 dirty
    CHANGE_RETENTION = 7            # value: kind, extra: bytes
    CHANGE_REPAIRED = 8             # a damaged range [value, extra) was accepted as a hole

# On disk: this struct (56 bytes), then the name padded to 8.
ctypedef struct Change:
    uint16_t kind
    uint16_t name_bytes
    uint32_t size                   # of struct and padded name
    uint64_t stamp
    uint64_t topic_id
    uint64_t cursor_id
    uint64_t value
    uint64_t extra
    uint64_t reserved

cdef inline uint32_t change_bytes(uint32_t name_bytes) noexcept nogil:
    return <uint32_t>sizeof(Change) + ((name_bytes + 7) & ~<uint32_t>7)
# Writes the change and its name at `at` (room checked by the caller, change_bytes()); gives the size.
cdef uint32_t change_write(uint8_t *at, const Change *change, const uint8_t *name) noexcept nogil
# The change at `at`, or NULL if it does not fit into `room` or is malformed. The name follows the struct.
cdef const Change *change_read(const uint8_t *at, uint64_t room) noexcept nogil
