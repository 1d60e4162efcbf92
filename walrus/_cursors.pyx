"""Cursors: durable read positions, each in a pair of slots of the control file and in the journal.

A commit takes a stamp, stores the value into the slot pair (it survives SIGKILL when cursor_commit returns) and leaves
a change for the next sync (then it survives the power). A cursor that commits often between two syncs has one change
only: it is overwritten where it stands in catalog.pending.

Every commit goes through the slot, also one of a process that only reads, which takes its stamp from the same counter.
A sync makes changes of what such processes stored, under stamps of its own: so in the boot that wrote the control file
the slot's value counts, whatever its stamp; after that the highest stamp.

Threads: committed value, stamp and slot under catalog.lock; the list of a topic's cursors under topic.lock. No GIL.
"""
from walrus._catalog cimport catalog_change
from walrus._changes cimport CHANGE_CURSOR, Change
from walrus._control cimport (FOREIGN_ID, ControlCursor, control_cursor, control_cursor_crc, control_load, control_own,
                              control_store, control_stored, control_storing)
from walrus._libc cimport (ENOMEM, calloc, free, malloc, memcmp, memcpy, memset, uint16_t, walrus_add64, walrus_load32,
                           walrus_load64, walrus_lock, walrus_store64, walrus_unlock)
from walrus._topics cimport CURSOR_NAMED, topic_by_id

cdef enum:
    NAME_BYTES_MAX = 1024


cdef Cursor *find_locked(Topic *topic, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef Cursor *cursor = topic.cursors
    while cursor != NULL:
        if cursor.kind == kind and cursor.name_bytes == name_bytes and memcmp(cursor.name, name, name_bytes) == 0:
            return cursor
        cursor = cursor.next
    return NULL


cdef Cursor *cursor_find(Topic *topic, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef Cursor *cursor
    walrus_lock(&topic.lock)
    cursor = find_locked(topic, kind, name, name_bytes)
    walrus_unlock(&topic.lock)
    return cursor


cdef Cursor *cursor_new(Topic *topic, Catalog *catalog, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef Cursor *cursor = <Cursor *>calloc(1, sizeof(Cursor))
    if cursor == NULL:
        return NULL
    cursor.name = <uint8_t *>malloc(name_bytes + 1)
    if cursor.name == NULL:
        free(cursor)
        return NULL
    memcpy(cursor.name, name, name_bytes)
    cursor.name[name_bytes] = 0
    cursor.name_bytes = name_bytes
    cursor.kind = kind
    cursor.topic = topic
    cursor.position = topic.low
    cursor.committed = topic.low
    cursor.id = (catalog.epoch << 32) | (walrus_add64(&catalog.next_cursor, 1) & (FOREIGN_ID - 1))
    return cursor


cdef Cursor *cursor_enter(Topic *topic, Catalog *catalog, uint32_t kind, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef Cursor *cursor
    walrus_lock(&topic.lock)
    cursor = find_locked(topic, kind, name, name_bytes)
    if cursor == NULL:
        cursor = cursor_new(topic, catalog, kind, name, name_bytes)
        if cursor != NULL:
            cursor.next = topic.cursors
            topic.cursors = cursor
    walrus_unlock(&topic.lock)
    return cursor


cdef int change_of(Cursor *cursor, Catalog *catalog, uint64_t value, uint64_t *stamp) noexcept nogil:
    """The cursor's pending change: overwritten if the next sync has not taken it yet, else a new one. Holds catalog.lock."""
    cdef Change change
    cdef Change *pending
    cdef int result
    if cursor.pending_generation == catalog.pending_generation + 1:
        pending = <Change *>(catalog.pending + cursor.pending_at)
        pending.stamp = walrus_add64(catalog.stamp_word, 1)
        pending.value = value
        stamp[0] = pending.stamp
        return 0
    memset(&change, 0, sizeof(change))
    change.kind = CHANGE_CURSOR
    change.name_bytes = <uint16_t>cursor.name_bytes
    change.topic_id = cursor.topic.id
    change.cursor_id = cursor.id
    change.value = value
    change.extra = cursor.kind
    cursor.pending_at = catalog.pending_bytes
    result = catalog_change(catalog, &change, cursor.name)
    if result == 0:
        cursor.pending_generation = catalog.pending_generation + 1      # 0 means none
        stamp[0] = change.stamp
    return result


cdef void slot_take(Cursor *cursor, ControlCursor *slot) noexcept nogil:
    """Its slot is this one, which another process may have made, under another id. Holds catalog.lock."""
    cursor.control = <uint8_t *>slot
    if cursor.id != slot.id:
        cursor.id = slot.id
        cursor.pending_generation = 0


cdef int slot_own(Cursor *cursor, Catalog *catalog) noexcept nogil:
    """Its slot, made if it has none, is owned from here on. 0, -EAGAIN: by another process; -errno. Holds catalog.lock."""
    cdef ControlCursor *slot = <ControlCursor *>cursor.control
    cdef int result = 0
    if slot == NULL:
        slot = control_cursor(catalog.control, cursor.id, cursor.topic.id, cursor.kind, cursor.name, cursor.name_bytes,
                              &result)
        if slot == NULL:
            return result
        slot_take(cursor, slot)
    if cursor.kind == CURSOR_NAMED:                 # the shared one is the writer's alone
        result = control_own(catalog.control, slot)
    cursor.owned = result == 0
    return result


cdef void committed(Cursor *cursor, uint64_t stamp, uint64_t value) noexcept nogil:
    """Holds catalog.lock."""
    cursor.stamp = stamp
    walrus_store64(&cursor.committed, value)
    if value > cursor.highest:
        cursor.highest = value
    cursor.durable_once = True
    cursor.damaged = False


cdef int cursor_commit(Cursor *cursor, Catalog *catalog, uint64_t value) noexcept nogil:
    cdef uint64_t stamp = 0
    cdef int result = 0
    walrus_lock(&catalog.lock)
    if catalog.control != NULL and not cursor.owned:
        result = slot_own(cursor, catalog)
    if result == 0:
        result = change_of(cursor, catalog, value, &stamp)
    if result == 0:
        if cursor.control != NULL:
            control_store(<ControlCursor *>cursor.control, stamp, value)
            cursor.slot_stamp = stamp
        committed(cursor, stamp, value)
    walrus_unlock(&catalog.lock)
    return result


cdef int set_back(Cursor *cursor, Catalog *catalog, uint64_t end) noexcept nogil:
    """Holds catalog.lock and, where another process may store, the slot's store lock."""
    cdef ControlCursor *slot = <ControlCursor *>cursor.control
    cdef uint64_t stamp = 0, value = cursor.committed
    cdef int result
    if cursor.damaged or (slot != NULL and not cursor.owned and control_load(slot, &stamp, &value) < 0) or value <= end:
        return 0
    result = change_of(cursor, catalog, end, &stamp)
    if result == 0:
        if slot != NULL:
            control_store(slot, stamp, end)
            cursor.slot_stamp = stamp
        committed(cursor, stamp, end)
    return result


cdef int cursor_set_back(Cursor *cursor, Catalog *catalog, uint64_t end) noexcept nogil:
    cdef ControlCursor *slot
    cdef bint foreign
    cdef int result = 0
    walrus_lock(&catalog.lock)
    slot = <ControlCursor *>cursor.control
    foreign = slot != NULL and not cursor.owned
    if foreign:
        result = control_storing(catalog.control, slot)
    if result == 0:
        result = set_back(cursor, catalog, end)
        if foreign:
            control_stored(catalog.control, slot)
    walrus_unlock(&catalog.lock)
    return result


cdef uint64_t cursors_lowest(Topic *topic) noexcept nogil:
    """Lowest committed value of all its cursors. Holds topic.lock; a cursor counts from when it was made."""
    cdef uint64_t lowest = <uint64_t>-1, value
    cdef Cursor *cursor = topic.cursors
    while cursor != NULL:
        value = walrus_load64(&cursor.committed)
        if cursor.damaged:
            value = 0                               # nobody knows where it stood: nothing may go
        if value < lowest:
            lowest = value
        cursor = cursor.next
    return lowest


# ------------------------------------------------------------------------------------------ what the control file has

cdef Cursor *by_id(Topic *topic, uint64_t id) noexcept nogil:
    cdef Cursor *cursor = topic.cursors
    while cursor != NULL and cursor.id != id:
        cursor = cursor.next
    return cursor


cdef int slot_adopt(TopicTable *topics, Catalog *catalog, ControlCursor *slot, bint trusted) noexcept nogil:
    cdef Topic *topic
    cdef Cursor *cursor
    cdef uint64_t stamp = 0, value = 0
    cdef int loaded
    if slot.state != 1 or slot.crc != control_cursor_crc(catalog.control, slot):
        return 0
    topic = topic_by_id(topics, slot.topic_id)
    if topic == NULL or slot.name_bytes > NAME_BYTES_MAX \
            or <uint64_t>slot.name_position + slot.name_bytes > catalog.control.head.names_used:
        return 0
    loaded = control_load(slot, &stamp, &value)
    cursor = by_id(topic, slot.id)
    if cursor == NULL:
        if loaded == 0:
            return 1
        cursor = cursor_enter(topic, catalog, slot.kind, catalog.control.names + slot.name_position, slot.name_bytes)
        if cursor == NULL:
            return -ENOMEM
        cursor.id = slot.id
        cursor.durable_once = True
    cursor.control = <uint8_t *>slot
    if loaded < 0 and trusted:
        cursor.damaged = True
    elif loaded > 0 and (catalog.control.same_boot or stamp > cursor.stamp):
        if stamp > cursor.stamp:
            cursor.stamp = stamp
        cursor.slot_stamp = stamp
        cursor.committed = value
    return 0


cdef int cursors_adopt(TopicTable *topics, Catalog *catalog, bint trusted) noexcept nogil:
    cdef uint32_t i, count = walrus_load32(&catalog.control.head.cursors)
    cdef bint known = True
    cdef int result
    for i in range(count):
        result = slot_adopt(topics, catalog, catalog.control.cursors + i, trusted)
        if result < 0:
            return result
        known = known and result == 0
    if known:
        catalog.control.own_cursors = count         # each is a cursor of a topic: none need be looked at by name
    return 0


cdef int absorb(TopicTable *topics, Catalog *catalog, ControlCursor *slot) noexcept nogil:
    cdef uint64_t stamp = 0, value = 0, own_stamp = 0, end
    cdef Topic *topic
    cdef Cursor *cursor
    cdef int result = 0
    if slot.state != 1 or slot.crc != control_cursor_crc(catalog.control, slot) or slot.name_bytes > NAME_BYTES_MAX:
        return 0
    topic = topic_by_id(topics, slot.topic_id)
    if topic == NULL:
        return 0
    walrus_lock(&topic.lock)
    cursor = by_id(topic, slot.id)
    walrus_unlock(&topic.lock)
    if cursor != NULL and cursor.owned:
        return 0
    if control_load(slot, &stamp, &value) <= 0:
        return 0
    end = walrus_load64(&topic.end)
    if cursor == NULL:
        cursor = cursor_enter(topic, catalog, slot.kind, catalog.control.names + slot.name_position, slot.name_bytes)
        if cursor == NULL:
            return -ENOMEM
    walrus_lock(&catalog.lock)
    if not cursor.owned and stamp != cursor.slot_stamp:
        slot_take(cursor, slot)
        if value <= end:
            result = change_of(cursor, catalog, value, &own_stamp)
        if value <= end and result == 0:
            cursor.slot_stamp = stamp
            committed(cursor, own_stamp, value)
            walrus_store64(&cursor.position, value)
    walrus_unlock(&catalog.lock)
    if value > end and result == 0:                 # stored while a truncation was under way
        result = cursor_set_back(cursor, catalog, end)
    return result


cdef int cursors_absorb(TopicTable *topics, Catalog *catalog) noexcept nogil:
    cdef uint32_t i, count = walrus_load32(&catalog.control.head.foreign_commits)
    cdef int result
    if count == catalog.foreign_commits:
        return 0
    for i in range(walrus_load32(&catalog.control.head.cursors)):
        result = absorb(topics, catalog, catalog.control.cursors + i)
        if result < 0:
            return result
    catalog.foreign_commits = count
    return 0
