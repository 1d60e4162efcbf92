"""Catalog changes as they stand in a journal record: topics, cursors, low watermarks, truncations, marks, options.

  at   bytes  field
   0    2     kind        1 topic, 2 cursor, 3 reserved, 4 low watermark, 5 cut, 6 clean mark, 7 retention, 8 repaired
   2    2     name_bytes
   4    4     size        56 + name_bytes, rounded up to a multiple of 8
   8    8     stamp       of the one counter of changes
  16    8     topic_id
  24    8     cursor_id
  32    8     value       by kind, see _changes.pxd
  40    8     extra
  48    8     reserved    0
  56          name        name_bytes, then zeros to `size`

The changes of a record lie one after another and end with its header; they begin at a multiple of 8. The record's
header checksum covers them. One is well-formed if, in this order: 56 bytes of it are there; kind is 1 .. 8; size is
what name_bytes makes it; size bytes of it are there. A reader that meets one that is not well-formed stops: no size
behind it can be trusted.

Layer: bytes. No state; any thread, no GIL.
"""
from walrus._libc cimport memcpy, memset


cdef uint32_t change_write(uint8_t *at, const Change *change, const uint8_t *name) noexcept nogil:
    cdef uint32_t size = change_bytes(change.name_bytes)
    memcpy(at, change, sizeof(Change))
    (<Change *>at).size = size
    if change.name_bytes:
        memset(at + size - 8, 0, 8)                 # the name's padding, before the name
        memcpy(at + sizeof(Change), name, change.name_bytes)
    return size


cdef const Change *change_read(const uint8_t *at, uint64_t room) noexcept nogil:
    cdef const Change *change = <const Change *>at
    if room < sizeof(Change) or change.kind < CHANGE_TOPIC or change.kind > CHANGE_REPAIRED:
        return NULL
    if change.size != change_bytes(change.name_bytes) or change.size > room:
        return NULL
    return change
