"""Repair of one topic: which files to keep a copy of, and the holes accepted.

Invariants. Nothing is thrown away and nothing moves: a hole keeps its offsets, reading it goes on to raise. The ranges
are changes of the catalog of their own, so a crash in between leaves each accepted or not, and the topic refuses
appends until one is.

Threads: any; ranges and places under topic.lock, changes under catalog.lock. No GIL.
"""
from walrus._catalog cimport catalog_change
from walrus._changes cimport CHANGE_REPAIRED, Change
from walrus._libc cimport memset, uint64_t, walrus_add32, walrus_lock, walrus_unlock
from walrus._topics cimport Place


cdef bint beside_a_range(const Topic *topic, const Place *place) noexcept nogil:
    cdef uint32_t i
    for i in range(topic.range_count):
        if place.end >= topic.ranges[i].first and place.group.first <= topic.ranges[i].end:
            return True
    return False


cdef uint32_t repair_files(Topic *topic, LogFile **files, uint32_t room) noexcept nogil:
    cdef uint32_t count = 0, known
    cdef uint64_t i
    walrus_lock(&topic.lock)
    for i in range(topic.places_from, topic.places_count):
        if not beside_a_range(topic, &topic.places[i]):
            continue
        known = 0
        while known < count and files[known] != topic.places[i].file:
            known += 1
        if known == count and count < room:
            files[count] = topic.places[i].file
            walrus_add32(&files[count].pins, 1)
            count += 1
    walrus_unlock(&topic.lock)
    return count


cdef void repair_unpin(LogFile **files, uint32_t count) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        walrus_add32(&files[i].pins, <uint32_t>-1)


cdef int repair_accept(Log *log, Topic *topic) noexcept nogil:
    cdef Change change
    cdef uint32_t i
    cdef int result = 0
    walrus_lock(&log.catalog.lock)
    walrus_lock(&topic.lock)
    for i in range(topic.range_count):
        memset(&change, 0, sizeof(change))
        change.kind = CHANGE_REPAIRED
        change.topic_id = topic.id
        change.value = topic.ranges[i].first
        change.extra = topic.ranges[i].end
        result = catalog_change(&log.catalog, &change, NULL)
        if result < 0:
            break
    if result == 0:
        topic.refuses = False
    walrus_unlock(&topic.lock)
    walrus_unlock(&log.catalog.lock)
    return result
