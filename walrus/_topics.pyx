"""Topics in memory: their offsets, chunks, places on disk, cursors; the table of all of them by id and by name.

Invariants: places are sorted by (first offset, piece); places before places_from are dead. epochs are sorted by epoch and by
start, the newest last. A Topic, once entered, stays until the log is freed: handles may point at it.
Threads: topics_* and topic_by_* under table.lock inside; the functions on one topic under that topic's lock. No GIL.
"""
from walrus._checksum cimport crc32c
from walrus._extent cimport GROUP_KIND_PIECE
from walrus._frame cimport frame_seed
from walrus._libc cimport (ENOMEM, calloc, free, malloc, memcmp, memcpy, memmove, realloc, walrus_add64, walrus_lock,
                           walrus_unlock)
from walrus._rules cimport RULE_EPOCH_LIST, rule_broken
from walrus._libc cimport WALRUS_DEBUG

cdef enum:
    SLOTS_FIRST = 64


cdef int topics_open(TopicTable *table) noexcept nogil:
    table.slots = SLOTS_FIRST
    table.id_slots = <Topic **>calloc(table.slots, sizeof(Topic *))
    table.name_slots = <Topic **>calloc(table.slots, sizeof(Topic *))
    if table.id_slots == NULL or table.name_slots == NULL:
        return -ENOMEM
    return 0


cdef void topic_free(Topic *topic) noexcept nogil:
    cdef Cursor *cursor = topic.cursors
    cdef Cursor *following
    while cursor != NULL:
        following = cursor.next
        free(cursor.name)
        free(cursor)
        cursor = following
    free(topic.name)
    free(topic.places)
    free(topic.epochs)
    free(topic.ranges)
    free(topic)


cdef void topics_close(TopicTable *table) noexcept nogil:
    cdef uint64_t i
    for i in range(table.count):
        topic_free(table.by_number[i])
    free(table.by_number)
    free(table.id_slots)
    free(table.name_slots)
    table.by_number = NULL
    table.id_slots = NULL
    table.name_slots = NULL
    table.count = 0


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    value ^= value >> 33
    value *= <uint64_t>0xFF51AFD7ED558CCD
    return value ^ (value >> 29)


cdef uint64_t name_hash(const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    return mix((<uint64_t>name_bytes << 32) | crc32c(0, name, name_bytes))


cdef Topic *topic_by_id(TopicTable *table, uint64_t id) noexcept nogil:
    cdef Topic *found = NULL
    cdef uint64_t at
    walrus_lock(&table.lock)
    at = mix(id) & (table.slots - 1)
    while table.id_slots[at] != NULL:
        if table.id_slots[at].id == id:
            found = table.id_slots[at]
            break
        at = (at + 1) & (table.slots - 1)
    walrus_unlock(&table.lock)
    return found


cdef Topic *topic_by_name(TopicTable *table, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef Topic *found = NULL
    cdef Topic *topic
    cdef uint64_t at
    walrus_lock(&table.lock)
    at = name_hash(name, name_bytes) & (table.slots - 1)
    while table.name_slots[at] != NULL:
        topic = table.name_slots[at]
        if topic.name_bytes == name_bytes and memcmp(topic.name, name, name_bytes) == 0:
            found = topic
            break
        at = (at + 1) & (table.slots - 1)
    walrus_unlock(&table.lock)
    return found


cdef Topic *topic_next(TopicTable *table, uint64_t *at) noexcept nogil:
    cdef Topic *topic = NULL
    walrus_lock(&table.lock)
    if at[0] < table.count:
        topic = table.by_number[at[0]]
        at[0] += 1
    walrus_unlock(&table.lock)
    return topic


cdef void slots_put(Topic **slots, uint64_t count, uint64_t hashed, Topic *topic) noexcept nogil:
    cdef uint64_t at = hashed & (count - 1)
    while slots[at] != NULL:
        at = (at + 1) & (count - 1)
    slots[at] = topic


cdef int table_grow(TopicTable *table) noexcept nogil:
    """At most half full: probing stays short."""
    cdef uint64_t slots = table.slots * 2, i
    cdef Topic **ids = <Topic **>calloc(slots, sizeof(Topic *))
    cdef Topic **names = <Topic **>calloc(slots, sizeof(Topic *))
    cdef Topic *topic
    if ids == NULL or names == NULL:
        free(ids)
        free(names)
        return -ENOMEM
    for i in range(table.count):
        topic = table.by_number[i]
        slots_put(ids, slots, mix(topic.id), topic)
        slots_put(names, slots, name_hash(topic.name, topic.name_bytes), topic)
    free(table.id_slots)
    free(table.name_slots)
    table.id_slots = ids
    table.name_slots = names
    table.slots = slots
    return 0


cdef int table_put(TopicTable *table, Topic *topic) noexcept nogil:
    cdef uint64_t room
    cdef void *memory
    if table.count == table.room:
        room = table.room * 2 if table.room else <uint64_t>64
        memory = realloc(table.by_number, room * sizeof(Topic *))
        if memory == NULL:
            return -ENOMEM
        table.by_number = <Topic **>memory
        table.room = room
    if (table.count + 1) * 2 > table.slots and table_grow(table) < 0:
        return -ENOMEM
    slots_put(table.id_slots, table.slots, mix(topic.id), topic)
    slots_put(table.name_slots, table.slots, name_hash(topic.name, topic.name_bytes), topic)
    table.by_number[table.count] = topic
    table.count += 1
    return 0


cdef Topic *topic_enter(TopicTable *table, const uint8_t *log_id, uint64_t id, const uint8_t *name,
                        uint32_t name_bytes) noexcept nogil:
    cdef int result
    cdef Topic *topic = <Topic *>calloc(1, sizeof(Topic))
    if topic == NULL:
        return NULL
    topic.name = <uint8_t *>malloc(name_bytes + 1)
    if topic.name == NULL:
        free(topic)
        return NULL
    memcpy(topic.name, name, name_bytes)
    topic.name[name_bytes] = 0
    topic.name_bytes = name_bytes
    topic.id = id
    topic.seed = frame_seed(log_id, id)
    walrus_lock(&table.lock)
    result = table_put(table, topic)
    walrus_unlock(&table.lock)
    if result < 0:
        topic_free(topic)
        return NULL
    return topic


# -------------------------------------------------------------------------------------------------------- places

cdef inline bint place_before(const GroupHeader *a, const GroupHeader *b) noexcept nogil:
    return a.first < b.first or (a.first == b.first and a.piece < b.piece)


cdef void places_squeeze(Topic *topic) noexcept nogil:
    """Dead ones make room once they are the larger part."""
    if topic.places_from > 64 and topic.places_from * 2 > topic.places_count:
        topic.places_count -= topic.places_from
        memmove(topic.places, topic.places + topic.places_from, topic.places_count * sizeof(Place))
        topic.places_from = 0


cdef int place_insert(Topic *topic, const GroupHeader *group, uint64_t end, LogFile *file) noexcept nogil:
    cdef uint64_t room, at
    cdef void *memory
    places_squeeze(topic)
    if topic.places_count == topic.places_room:
        room = topic.places_room * 2 if topic.places_room else <uint64_t>4
        memory = realloc(topic.places, room * sizeof(Place))
        if memory == NULL:
            return -ENOMEM
        topic.places = <Place *>memory
        topic.places_room = room
    at = topic.places_count
    while at > topic.places_from and place_before(group, &topic.places[at - 1].group):
        at -= 1
    memmove(topic.places + at + 1, topic.places + at, (topic.places_count - at) * sizeof(Place))
    topic.places[at].group = group[0]
    topic.places[at].end = end
    topic.places[at].file = file
    topic.places_count += 1
    return 0


cdef void places_forget_stamp(Topic *topic, uint64_t stamp) noexcept nogil:
    cdef uint64_t i, kept = topic.places_from
    for i in range(topic.places_from, topic.places_count):
        if topic.places[i].group.kind == GROUP_KIND_PIECE and topic.places[i].group.stamp == stamp:
            walrus_add64(&topic.places[i].file.live, <uint64_t>-1)
            walrus_add64(&topic.places[i].file.live_bytes, <uint64_t>0 - topic.places[i].group.bytes)
            continue
        topic.places[kept] = topic.places[i]
        kept += 1
    topic.places_count = kept


cdef void places_drop(Topic *topic, const LogFile *file) noexcept nogil:
    cdef uint64_t i, kept = topic.places_from
    for i in range(topic.places_from, topic.places_count):
        if topic.places[i].file != file:
            topic.places[kept] = topic.places[i]
            kept += 1
    topic.places_count = kept


cdef uint64_t place_find(Topic *topic, uint64_t offset) noexcept nogil:
    cdef uint64_t low = topic.places_from, high = topic.places_count, middle
    while low < high:                               # the first place that begins behind `offset`
        middle = (low + high) // 2
        if topic.places[middle].group.first <= offset:
            low = middle + 1
        else:
            high = middle
    while low > topic.places_from:                  # back over places that overlap and end too early
        low -= 1
        if topic.places[low].end > offset:
            while (low > topic.places_from and topic.places[low].group.piece > 0
                   and topic.places[low - 1].group.first == topic.places[low].group.first):
                low -= 1
            return low
    return topic.places_count


# -------------------------------------------------------------------------------------------------------- epochs

cdef int topic_renew(Topic *topic, uint64_t epoch, uint64_t start) noexcept nogil:
    cdef uint32_t kept = 0, i
    cdef EpochEntry *entries = <EpochEntry *>malloc((topic.epoch_count + 1) * sizeof(EpochEntry))
    if entries == NULL:
        return -ENOMEM
    for i in range(topic.epoch_count):
        if topic.epochs[i].start < start and topic.epochs[i].epoch < epoch:
            entries[kept] = topic.epochs[i]
            kept += 1
    entries[kept].epoch = epoch
    entries[kept].start = start
    free(topic.epochs)
    topic.epochs = entries
    topic.epoch_count = kept + 1
    return 0


cdef uint64_t topic_epoch_limit(const Topic *topic, uint64_t epoch) noexcept nogil:
    cdef uint32_t i
    if WALRUS_DEBUG and rule_broken(RULE_EPOCH_LIST):
        return <uint64_t>-1
    for i in range(topic.epoch_count):
        if topic.epochs[i].epoch > epoch:
            return topic.epochs[i].start
    return <uint64_t>-1
