# cython: language_level=3
"""Test-only window on the bytes layer, whose functions have no Python face: thin shells over what the .pxd files declare.

Compiled on demand by probe_build.py against the installed package. Every decoder is given bytes that end at an unreadable page,
so reading one byte too many is a crash, not a matter of luck; every encoder writes into memory with a margin that is checked.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from walrus._changes cimport Change, change_bytes, change_read, change_write
from walrus._checksum cimport crc32c, crc32c_copy, crc32c_force_portable, crc32c_implementation
from walrus._extent cimport (extent_changes, extent_check, extent_name, extent_seal, extent_seed, ExtentHeader,
                             extent_group, GroupHeader)
from walrus._frame cimport (FRAME_KIND_BATCH, FrameView, frame_batch_bytes, frame_claim, frame_peek, frame_read,
                            frame_seal_piece, frame_search, frame_seed, frame_single_bytes, frame_write_batch,
                            frame_write_packed, frame_write_single, FRAME_HEADER_BYTES, FRAME_PIECE_BYTES)
from walrus._logfile_format cimport (LogFileHead, TableHead, logfile_head_read, logfile_head_write, table_check,
                                     table_seal)
from walrus._snapshot_format cimport (DamagedRange, EpochEntry, SnapshotCursor, SnapshotFile, SnapshotHead,
                                      SnapshotReader, SnapshotTopic, SnapshotWriter, snapshot_begin, snapshot_check,
                                      snapshot_end, snapshot_free, snapshot_put_cursor, snapshot_put_file,
                                      snapshot_put_topic, snapshot_read_begin, snapshot_read_cursor,
                                      snapshot_read_file, snapshot_read_topic)

cdef extern from "sys/mman.h" nogil:
    const int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
    int mprotect(void *address, size_t length, int protection)

cdef enum:
    PAGE = 65536                    # a multiple of the page size of every machine
    MARGIN = 64


SIZES = {
    "ExtentHeader": sizeof(ExtentHeader), "GroupHeader": sizeof(GroupHeader), "LogFileHead": sizeof(LogFileHead),
    "TableHead": sizeof(TableHead), "SnapshotHead": sizeof(SnapshotHead), "SnapshotTopic": sizeof(SnapshotTopic),
    "SnapshotCursor": sizeof(SnapshotCursor), "SnapshotFile": sizeof(SnapshotFile), "Change": sizeof(Change),
}


cdef class Guarded:
    """A copy of some bytes that ends where readable memory ends."""
    cdef uint8_t *memory
    cdef size_t mapped
    cdef uint8_t *at
    cdef uint64_t bytes

    def __cinit__(self, bytes data):
        cdef size_t pages = (len(data) + PAGE - 1) // PAGE * PAGE
        self.mapped = pages + PAGE
        self.bytes = len(data)
        self.memory = <uint8_t *>mmap(NULL, self.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *>self.memory == MAP_FAILED:
            self.memory = NULL
            raise MemoryError
        if mprotect(self.memory + pages, PAGE, PROT_NONE):
            raise OSError("mprotect")
        self.at = self.memory + pages - len(data)
        memcpy(self.at, <const uint8_t *>data, len(data))

    def __dealloc__(self):
        if self.memory != NULL:
            munmap(self.memory, self.mapped)


cdef class Written:
    """Memory of `room` bytes for an encoder, full of 0xAA, with a margin behind."""
    cdef uint8_t *at
    cdef size_t room

    def __cinit__(self, size_t room):
        self.room = room
        self.at = <uint8_t *>malloc(room + MARGIN)
        if self.at == NULL:
            raise MemoryError
        memset(self.at, 0xAA, room + MARGIN)

    def __dealloc__(self):
        free(self.at)

    cdef bytes take(self, size_t size):
        assert size <= self.room, (size, self.room)
        assert (<const uint8_t *>self.at)[size:self.room + MARGIN] == b"\xAA" * (self.room + MARGIN - size), "wrote too far"
        return (<const uint8_t *>self.at)[:size]


# ------------------------------------------------------------------------------------------------------ checksum

def implementation():
    return crc32c_implementation().decode()


def force_portable(bint on):
    crc32c_force_portable(on)


def checksum(bytes data, uint32_t crc=0):
    cdef Guarded guarded = Guarded(data)
    return crc32c(crc, guarded.at, guarded.bytes)


def checksums(bytes data, int alignment):
    """Of every prefix of data, which begins `alignment` bytes into a block."""
    cdef uint8_t *memory = <uint8_t *>malloc(len(data) + 64)
    cdef size_t i
    memcpy(memory + alignment, <const uint8_t *>data, len(data))
    result = [crc32c(0, memory + alignment, i) for i in range(len(data) + 1)]
    free(memory)
    return result


def checksum_copy(bytes data, uint32_t crc, int from_alignment, int to_alignment):
    cdef Written source = Written(len(data) + from_alignment)
    cdef Written target = Written(len(data) + to_alignment)
    memcpy(source.at + from_alignment, <const uint8_t *>data, len(data))
    result = crc32c_copy(crc, target.at + to_alignment, source.at + from_alignment, len(data))
    return result, target.take(len(data) + to_alignment)[to_alignment:]


# --------------------------------------------------------------------------------------------------------- frame

def seed(bytes log_id, uint64_t topic_id):
    assert len(log_id) == 16
    return frame_seed(log_id, topic_id)


def claim(uint64_t first, uint64_t durable):
    return frame_claim(first, durable)


def write_single(uint32_t seed, bytes data, uint64_t first=0, uint32_t epoch=1, uint32_t claim=0, uint64_t time_ns=0):
    cdef Written target = Written(frame_single_bytes(len(data)))
    size = frame_write_single(target.at, seed, epoch, claim, first, time_ns, data, <uint32_t>len(data))
    assert size == frame_single_bytes(len(data))
    return target.take(size)


def write_batch(uint32_t seed, list entries, uint64_t first=0, uint32_t epoch=1, uint32_t claim=0, uint64_t time_ns=0,
                bint packed=False):
    cdef size_t i
    cdef bytes together = b"".join(entries)
    cdef Written target = Written(frame_batch_bytes(<uint32_t>len(entries), len(together)))
    cdef uint64_t *lengths = <uint64_t *>malloc(8 * len(entries))
    cdef const uint8_t **data = <const uint8_t **>malloc(8 * len(entries))
    for i in range(len(entries)):
        lengths[i] = len(entries[i])
        data[i] = <const uint8_t *><bytes>entries[i]
    if packed:
        size = frame_write_packed(target.at, seed, epoch, claim, first, time_ns, together, lengths, <uint32_t>len(entries))
    else:
        size = frame_write_batch(target.at, seed, epoch, claim, first, time_ns, data, lengths, <uint32_t>len(entries))
    free(lengths)
    free(data)
    assert size == frame_batch_bytes(<uint32_t>len(entries), len(together))
    return target.take(size)


def write_piece(uint32_t seed, bytes body, uint64_t stamp, uint32_t number, uint32_t pieces, uint32_t entries,
                uint64_t first=0, uint32_t epoch=1, uint32_t claim=0, uint64_t time_ns=0):
    cdef uint64_t before = FRAME_HEADER_BYTES + FRAME_PIECE_BYTES
    cdef Written target = Written((before + len(body) + 7) & ~<uint64_t>7)
    memcpy(target.at + before, <const uint8_t *>body, len(body))
    return target.take(frame_seal_piece(target.at, seed, epoch, claim, first, time_ns, <uint32_t>len(body), stamp, number,
                                        pieces, entries))


cdef dict shown(const FrameView *view):
    cdef uint32_t i
    cdef const uint8_t *at = view.body
    cdef dict result = {
        "first": view.first, "time_ns": view.time_ns, "durable": view.durable, "epoch": view.epoch, "kind": view.kind,
        "count": view.count, "size": view.size, "stamp": view.stamp, "number": view.number, "pieces": view.pieces,
        "body": view.body[:view.body_bytes],
    }
    assert (view.lengths != NULL) == (view.kind == FRAME_KIND_BATCH)
    if view.lengths != NULL:
        result["entries"] = []
        for i in range(view.count):
            result["entries"].append(at[:view.lengths[i]])
            at += view.lengths[i]
        assert at == view.body + view.body_bytes
    return result


def read(bytes data, uint32_t seed):
    """(code, view): the room is all of data."""
    cdef Guarded guarded = Guarded(data)
    cdef FrameView view
    cdef int code = frame_read(guarded.at, guarded.bytes, seed, &view)
    return code, shown(&view) if code == 1 else None


def peek(bytes data):
    cdef Guarded guarded = Guarded(data)
    cdef FrameView view
    cdef int code = frame_peek(guarded.at, guarded.bytes, &view)
    return code, shown(&view) if code == 1 else None


def search(bytes data, uint32_t seed):
    cdef Guarded guarded = Guarded(data)
    cdef FrameView view
    place = frame_search(guarded.at, guarded.bytes, seed, &view)
    return place, shown(&view) if place < guarded.bytes else None


# -------------------------------------------------------------------------------------------------------- extent

def seed_of_extent(bytes log_id, uint64_t number, uint64_t position):
    return extent_seed(log_id, number, position)


def seal_extent(bytes data, bytes log_id, uint64_t position):
    cdef Written target = Written(len(data))
    memcpy(target.at, <const uint8_t *>data, len(data))
    extent_seal(target.at, log_id, position)
    return target.take(len(data))


def check_extent(bytes data, bytes log_id, uint64_t number, uint64_t position, int kind, room=None):
    """`data` is what is in memory, `room` what is left of the file."""
    cdef Guarded guarded = Guarded(data)
    return extent_check(guarded.at, guarded.bytes, len(data) if room is None else room, log_id, number, position, kind)


def names_and_changes(bytes data):
    cdef const uint8_t *at = data
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    names = [extent_name(at, i)[:extent_group(at, i).name_bytes] for i in range(header.groups)]
    return names, extent_changes(at)[:header.changes]


# ------------------------------------------------------------------------------------------------------- changes

def write_change(uint16_t kind, uint64_t stamp, uint64_t topic_id, bytes name=b"", uint64_t cursor_id=0, uint64_t value=0,
                 uint64_t extra=0):
    cdef Change change
    cdef Written target = Written(change_bytes(<uint32_t>len(name)))
    memset(&change, 0, sizeof(change))
    change.kind = kind
    change.name_bytes = <uint16_t>len(name)
    change.stamp = stamp
    change.topic_id = topic_id
    change.cursor_id = cursor_id
    change.value = value
    change.extra = extra
    return target.take(change_write(target.at, &change, name))


def read_change(bytes data):
    """None, or the change as (kind, stamp, topic_id, cursor_id, value, extra, name) and its size."""
    cdef Guarded guarded = Guarded(data)
    cdef const Change *change = change_read(guarded.at, guarded.bytes)
    if change == NULL:
        return None
    name = (<const uint8_t *>change + sizeof(Change))[:change.name_bytes]
    return (change.kind, change.stamp, change.topic_id, change.cursor_id, change.value, change.extra, name), change.size


# ------------------------------------------------------------------------------------------------------ log file

def write_head(bytes log_id, uint64_t number, uint64_t size, uint64_t time_ns):
    cdef Written target = Written(4096)
    logfile_head_write(target.at, log_id, number, size, time_ns)
    return target.take(4096)


def read_head(bytes block, bytes log_id):
    cdef Guarded guarded = Guarded(block)
    cdef LogFileHead head
    code = logfile_head_read(guarded.at, log_id, &head)
    return code, (head.number, head.size, head.time_ns) if code == 1 else None


def seal_table(bytes data, bytes log_id, uint64_t number, uint64_t position, uint32_t groups, uint64_t end):
    cdef Written target = Written(len(data))
    memcpy(target.at, <const uint8_t *>data, len(data))
    table_seal(target.at, log_id, number, position, groups, end)
    return target.take(len(data))


def check_table(bytes data, bytes log_id, uint64_t number, uint64_t position):
    cdef Guarded guarded = Guarded(data)
    return table_check(guarded.at, guarded.bytes, log_id, number, position)


# ------------------------------------------------------------------------------------------------------ snapshot

cdef put_topic(SnapshotWriter *writer, dict topic):
    cdef SnapshotTopic row
    cdef EpochEntry[64] epochs
    cdef DamagedRange[64] ranges
    cdef bytes name = topic["name"]
    memset(&row, 0, sizeof(row))
    row.id = topic["id"]
    row.low = topic["low"]
    row.durable = topic["durable"]
    row.epochs = <uint32_t>len(topic["epochs"])
    row.ranges = <uint32_t>len(topic["ranges"])
    row.name_bytes = <uint16_t>len(name)
    for i, (epoch, start) in enumerate(topic["epochs"]):
        epochs[i].epoch = epoch
        epochs[i].start = start
    for i, (first, end) in enumerate(topic["ranges"]):
        ranges[i].first = first
        ranges[i].end = end
    snapshot_put_topic(writer, &row, epochs, ranges, name)


cdef put_cursor(SnapshotWriter *writer, dict cursor):
    cdef SnapshotCursor row
    cdef bytes name = cursor["name"]
    memset(&row, 0, sizeof(row))
    row.id = cursor["id"]
    row.topic_id = cursor["topic_id"]
    row.stamp = cursor["stamp"]
    row.value = cursor["value"]
    row.name_bytes = <uint16_t>len(name)
    snapshot_put_cursor(writer, &row, name)


cdef put_file(SnapshotWriter *writer, dict listed):
    cdef SnapshotFile row
    memset(&row, 0, sizeof(row))
    row.name = listed["name"]
    row.number = listed["number"]
    row.end = listed["end"]
    snapshot_put_file(writer, &row)


def write_snapshot(list topics, list cursors, list files, bytes log_id=b"\0" * 16, uint64_t epoch=1, uint64_t stamp=0,
                   int uses=1):
    """Written `uses` times with one writer, whose memory is kept: the last image."""
    cdef SnapshotWriter writer
    cdef int use
    memset(&writer, 0, sizeof(writer))
    try:
        for use in range(uses):
            snapshot_begin(&writer)
            for row in topics:
                put_topic(&writer, row)
            for row in cursors:
                put_cursor(&writer, row)
            for row in files:
                put_file(&writer, row)
            memcpy(writer.head.log_id, <const uint8_t *>log_id, 16)
            writer.head.epoch = epoch
            writer.head.stamp = stamp
            size = snapshot_end(&writer)
        return (<const uint8_t *>writer.memory)[:size]
    finally:
        snapshot_free(&writer)


def check_snapshot(bytes data):
    cdef Guarded guarded = Guarded(data)
    return snapshot_check(guarded.at, guarded.bytes)


def read_snapshot(bytes data):
    cdef const uint8_t *at = data
    cdef const SnapshotHead *head = <const SnapshotHead *>at
    cdef SnapshotReader reader
    cdef const SnapshotTopic *topic
    cdef const SnapshotCursor *cursor
    cdef const SnapshotFile *listed
    cdef const EpochEntry *epochs
    cdef const DamagedRange *ranges
    cdef const uint8_t *name
    topics, cursors, files = [], [], []
    snapshot_read_begin(&reader, at)
    for _ in range(head.topics):
        topic = snapshot_read_topic(&reader, &epochs, &ranges, &name)
        topics.append({"id": topic.id, "low": topic.low, "durable": topic.durable, "name": name[:topic.name_bytes],
                       "epochs": [(epochs[i].epoch, epochs[i].start) for i in range(topic.epochs)],
                       "ranges": [(ranges[i].first, ranges[i].end) for i in range(topic.ranges)]})
    for _ in range(head.cursors):
        cursor = snapshot_read_cursor(&reader, &name)
        cursors.append({"id": cursor.id, "topic_id": cursor.topic_id, "stamp": cursor.stamp, "value": cursor.value,
                        "name": name[:cursor.name_bytes]})
    for _ in range(head.files):
        listed = snapshot_read_file(&reader)
        files.append({"name": listed.name, "number": listed.number, "end": listed.end})
    assert snapshot_read_file(&reader) == NULL and snapshot_read_cursor(&reader, &name) == NULL
    return topics, cursors, files
