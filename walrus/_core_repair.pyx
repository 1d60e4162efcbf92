"""Repair of one topic, as Python asks for it: a copy first, then the hole is accepted.

Invariants. The copy is whole and flushed before anything is accepted; it is made with the log's own reads, so the page
cache of a file that is being filled stays untouched. A repair that is interrupted leaves the topic refusing appends:
doing it again is safe.

Threads: any; the disk is read without the GIL.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize

from walrus._core cimport LogHandle
from walrus._core_errors cimport raise_code
from walrus._core_topic cimport encoded_name
from walrus._device cimport device_read
from walrus._libc cimport free, int64_t, posix_memalign, uint8_t, uint32_t, uint64_t, walrus_load64, walrus_lock, walrus_unlock
from walrus._log_state cimport LOG_NO_MEMORY
from walrus._logfiles cimport LogFile
from walrus._repair cimport REPAIR_FILES_MAX, repair_accept, repair_files, repair_unpin
from walrus._topics cimport Topic

import os

cdef enum:
    COPY_BYTES = 1048576
    COPY_ALIGNMENT = 4096


cdef object copy_file(LogHandle log, LogFile *file, object directory):
    """Its bytes as they are on the disk, into a file of the same name; flushed."""
    cdef uint8_t *memory = NULL
    cdef uint64_t position = 0
    cdef int64_t got
    path = os.path.join(directory, (<bytes>file.file.name).decode())
    if posix_memalign(<void **>&memory, COPY_ALIGNMENT, COPY_BYTES):
        raise_code(log.log, LOG_NO_MEMORY, "copy a file", None, None)
    try:
        with open(path, "wb") as target:
            while position < file.file.size:
                with nogil:
                    got = device_read(&log.log.device, &file.file, memory, COPY_BYTES, position)
                if got < 0:
                    raise_code(log.log, <int>got, f"copy {path}", None, None)
                if got == 0:
                    break
                target.write(PyBytes_FromStringAndSize(<char *>memory, <Py_ssize_t>got))
                position += <uint64_t>got
                log.check_signals()
            target.flush()
            os.fsync(target.fileno())
    finally:
        free(memory)
    return path


cdef object ranges_of(Topic *topic):
    """((first, end), ...) of the damaged ranges."""
    cdef uint32_t i, count
    cdef uint64_t first, end
    found = []
    with nogil:
        walrus_lock(&topic.lock)
        count = topic.range_count
        walrus_unlock(&topic.lock)
    for i in range(count):
        with nogil:
            walrus_lock(&topic.lock)
            first = topic.ranges[i].first if i < topic.range_count else 0
            end = topic.ranges[i].end if i < topic.range_count else 0
            walrus_unlock(&topic.lock)
        found.append((first, end))
    return tuple(found)


cdef object copy_all(LogHandle log, Topic *topic, object directory):
    """Keeps what lies beside and in the damaged ranges, in a directory of its own."""
    cdef LogFile *files[REPAIR_FILES_MAX]
    cdef uint32_t count, i
    with nogil:
        count = repair_files(topic, files, REPAIR_FILES_MAX)
    try:
        os.makedirs(directory, exist_ok=True)
        for i in range(count):
            copy_file(log, files[i], directory)
        for path in (directory, log.path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    finally:
        with nogil:
            repair_unpin(files, count)


def repair(LogHandle log not None, name):
    """``(holes, directory of the copy)``; ``((), None)`` where the topic takes appends already."""
    cdef bytes encoded = encoded_name(name, "a topic's name")
    cdef Topic *topic
    cdef int code
    log.enter("repair a topic")
    try:
        topic = log.find(encoded, False)
        if topic == NULL or not topic.refuses:
            return (), None
        holes = ranges_of(topic)
        directory = os.path.join(log.path, f"damaged-{topic.id:016x}-{log.log.catalog.epoch}")
        copy_all(log, topic, directory)
        with nogil:
            code = repair_accept(log.log, topic)
        if code:
            raise_code(log.log, code, "repair", name, None)
        log.make_durable("repair", name, None, NULL, 0, walrus_load64(log.log.catalog.stamp_word))
        return holes, directory
    finally:
        log.leave()
