# distutils: language = c++
"""The engine's functions for native threads, in the shape that bridge.hpp calls them; opening and closing go through
walrus.open()."""
from libcpp.string cimport string
from libcpp.vector cimport vector

from walrus._append cimport AppendRequest, append_batch, append_one
from walrus._core cimport LogHandle
from walrus._group_commit cimport sync_ticket, sync_wait
from walrus._libc cimport memset, uint8_t, uint32_t, uint64_t
from walrus._log cimport log_topic
from walrus._log_state cimport LOG_INTERRUPTED, Log
from walrus._topics cimport Topic

import sys

import walrus

cdef extern from "bridge.hpp" nogil:
    cdef struct Engine:
        void *(*open)(const char *, const char *, long long, int) noexcept nogil
        void *(*topic)(void *, int) noexcept nogil
        int (*append)(void *, void *, const unsigned char *, unsigned long long) noexcept nogil
        int (*append_batch)(void *, void *, const unsigned char **, const unsigned long long *,
                            unsigned int) noexcept nogil
        int (*sync)(void *) noexcept nogil
        void (*close)() noexcept nogil
    Engine engine
    int native_main(const vector[string] &words)

cdef LogHandle opened = None
options = {}


cdef void *bridge_open(const char *directory, const char *durability, long long retention,
                       int topics) noexcept with gil:
    global opened
    schedule = {
        b"none": walrus.FsyncSchedule.NoFsync, b"interval": walrus.FsyncSchedule.Milliseconds(options["interval_ms"]),
        b"each": walrus.FsyncSchedule.SyncEach,
    }[<bytes>durability]
    try:
        opened = walrus.open((<bytes>directory).decode(), fsync_schedule=schedule,
                             retention=max(1, retention // topics) if retention else None, **options["open"])
    except Exception as error:
        print(error, file=sys.stderr)
        return NULL
    return opened.log


cdef void bridge_close() noexcept with gil:
    opened.close()


cdef void *bridge_topic(void *log, int number) noexcept with gil:
    cdef bytes name = str(number).encode()
    cdef int code = 0
    return log_topic(<Log *>log, <const uint8_t *><const char *>name, <uint32_t>len(name), True, &code)


cdef int bridge_append(void *log, void *topic, const unsigned char *data, unsigned long long length) noexcept nogil:
    cdef uint64_t offset
    cdef int code = LOG_INTERRUPTED
    while code == LOG_INTERRUPTED:
        code = append_one(<Log *>log, <Topic *>topic, data, length, True, 0, &offset)
    return code


cdef int bridge_append_batch(void *log, void *topic, const unsigned char **data, const unsigned long long *lengths,
                             unsigned int count) noexcept nogil:
    cdef AppendRequest request
    cdef uint64_t first
    cdef unsigned int i
    cdef int code = LOG_INTERRUPTED
    memset(&request, 0, sizeof(request))
    request.data = <const uint8_t **>data
    request.lengths = <const uint64_t *>lengths
    request.count = count
    for i in range(count):
        request.payload_bytes += lengths[i]
    while code == LOG_INTERRUPTED:
        code = append_batch(<Log *>log, <Topic *>topic, &request, True, 0, &first)
    return code


cdef int bridge_sync(void *log) noexcept nogil:
    cdef uint64_t ticket = sync_ticket(<Log *>log)
    cdef int code = LOG_INTERRUPTED
    while code == LOG_INTERRUPTED:
        code = sync_wait(<Log *>log, ticket, 0)
    return code


def run(list words, int interval_ms, dict open_options):
    """Does what the words say and prints the line of JSON; gives the exit code."""
    cdef vector[string] texts
    cdef int code
    options.update(interval_ms=interval_ms, open=open_options)
    for word in words:
        texts.push_back(word.encode())
    engine.open = bridge_open
    engine.topic = bridge_topic
    engine.append = bridge_append
    engine.append_batch = bridge_append_batch
    engine.sync = bridge_sync
    engine.close = bridge_close
    with nogil:
        code = native_main(texts)
    return code
