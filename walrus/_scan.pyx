"""Scan: reading log files and journal files from their beginning to the first gap, and beyond it where damage is
suspected.

What is read was flushed before (open_flushes: the caller's business), so what validates here is durable. An extent
counts by its header, each frame in it by its own checksum; the first place where no header validates is the gap, and
writing goes on there. Behind a gap only headers of the same number validate: what an earlier use of the file left
never does.

Frames of which all is below the low watermark are dead: an extent of nothing else is stepped over unread. All sizes
were checked against the file's (extent_check, table_check) before they are used; memory is bounded by the largest
extent.

Threads: opening alone. No GIL.
"""
from walrus._changes cimport Change, change_read
from walrus._checksum cimport crc32c
from walrus._device cimport device_read
from walrus._extent cimport (BLOCK_BYTES, EXTENT_KIND_JOURNAL, EXTENT_KIND_LOG, ExtentHeader, GroupHeader,
                             extent_changes,
                             extent_check, extent_group, extent_name)
from walrus._findings cimport (SOURCE_EXTENT, SOURCE_JOURNAL, Found, findings_add, findings_gap, findings_group, findings_topic,
                               refuse)
from walrus._libc cimport ENOMEM, free, int64_t, memcpy, memset, posix_memalign, realloc, uint32_t
from walrus._log_state cimport LOG_TOO_NEW
from walrus._logfile_format cimport TableHead, table_check
from walrus._logfiles cimport logfile_note
from walrus._topics cimport Topic, topic_by_id

cdef enum:
    READ_AHEAD_BYTES = 4194304
    READ_AHEAD_DEAD_BYTES = 65536   # where only headers are looked at


# --------------------------------------------------------------------------------------------------------- windows

cdef void window_begin(Window *window, Device *device, DeviceFile *file) noexcept nogil:
    window.device = device
    window.file = file
    window.begin = 0
    window.bytes = 0


cdef void window_free(Window *window) noexcept nogil:
    free(window.memory)
    window.memory = NULL
    window.room = 0


cdef int window_grow(Window *window, uint64_t bytes) noexcept nogil:
    cdef void *memory = NULL
    if bytes <= window.room:
        return 0
    if posix_memalign(&memory, BLOCK_BYTES, bytes):
        return -ENOMEM
    free(window.memory)
    window.memory = <uint8_t *>memory
    window.room = bytes
    window.bytes = 0
    return 0


cdef const uint8_t *window_at(Window *window, uint64_t position, uint64_t bytes, uint64_t ahead,
                              int *code) noexcept nogil:
    cdef uint64_t wanted = (bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef int64_t got
    code[0] = 0
    if position > window.file.size or bytes > window.file.size - position:
        return NULL
    if position >= window.begin and position + bytes <= window.begin + window.bytes:
        return window.memory + (position - window.begin)
    if ahead < wanted:
        ahead = wanted
    code[0] = window_grow(window, ahead)
    if code[0] < 0:
        return NULL
    got = device_read(window.device, window.file, window.memory, ahead, position)
    if got < 0 and ahead > wanted:                  # a bad place further on must not hide this one
        got = device_read(window.device, window.file, window.memory, wanted, position)
    window.begin = position
    window.bytes = <uint64_t>got if got > 0 else 0
    if got < 0:
        code[0] = <int>got
    return window.memory if window.bytes >= bytes else NULL


cdef const uint8_t *header_at(Findings *findings, Window *window, uint64_t position, uint64_t number, int kind,
                              uint64_t ahead, int *code) noexcept nogil:
    """The header there, all of it in memory; NULL: none that validates. Number 0: whatever it says."""
    cdef const uint8_t *log_id = findings.log.catalog.log_id
    cdef const uint8_t *at = window_at(window, position, BLOCK_BYTES, ahead, code)
    cdef uint64_t room = window.file.size - position if position < window.file.size else <uint64_t>0
    cdef int result
    if at == NULL:
        return NULL
    if number == 0:
        number = (<const ExtentHeader *>at).number
    result = extent_check(at, BLOCK_BYTES, room, log_id, number, position, kind)
    if result == 2:
        at = window_at(window, position, (<const ExtentHeader *>at).header_bytes, ahead, code)
        if at == NULL:
            return NULL
        result = extent_check(at, (<const ExtentHeader *>at).header_bytes, room, log_id, number, position, kind)
    if result < 0:
        code[0] = refuse(findings.log, LOG_TOO_NEW, b"an extent", window.file.name,
                         (<const ExtentHeader *>at).version)
        return NULL
    return at if result == 1 else NULL


cdef uint64_t gap_end(Findings *findings, Window *window, LogFile *file, uint64_t gap, int kind, uint64_t missing,
                      int *code) noexcept nogil:
    """Where the next header behind the gap is, if one there says that what is missing had been flushed. 0: a torn tail.

    `missing`: the gap's position in a log file, the sequence of the record that should be there in a journal file.
    """
    cdef uint64_t position = gap + BLOCK_BYTES, following = 0
    cdef const ExtentHeader *header
    code[0] = 0
    while position + BLOCK_BYTES <= file.file.size:
        header = <const ExtentHeader *>header_at(findings, window, position, file.number, kind, READ_AHEAD_BYTES, code)
        if code[0] == -ENOMEM or code[0] == LOG_TOO_NEW:
            return 0
        if header == NULL:
            position += BLOCK_BYTES
            continue
        if following == 0:
            following = position
        if header.flushed > missing:
            code[0] = 0
            return following
        position += header.size
    code[0] = 0
    return 0


# ---------------------------------------------------------------------------------------------------------- groups

cdef bint all_dead(Findings *findings, const uint8_t *at) noexcept nogil:
    """Of every group the topic is known, and all of it below the low watermark."""
    cdef const GroupHeader *group
    cdef Topic *topic
    cdef uint32_t i
    for i in range((<const ExtentHeader *>at).groups):
        group = extent_group(at, i)
        topic = topic_by_id(&findings.log.topics, group.topic_id)
        if topic == NULL or group.first + group.count > topic.low:
            return False
    return True


cdef int note_found(Findings *findings, LogFile *file, uint64_t since) noexcept nogil:
    """What was found in the file since then, for its table."""
    cdef uint64_t i
    for i in range(since, findings.count):
        if logfile_note(file, &findings.found[i].group) < 0:
            return -ENOMEM
    return 0


cdef int scan_groups(Findings *findings, const uint8_t *at, LogFile *file, uint64_t position,
                     uint32_t source) noexcept nogil:
    """Every group of the extent at `at`, all of which is in memory. 0 or a negative code."""
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    cdef const uint8_t *name = extent_name(at, 0)
    cdef uint64_t since = findings.count
    cdef GroupHeader group
    cdef uint32_t i
    cdef int code = 0
    for i in range(header.groups):
        group = extent_group(at, i)[0]
        if group.name_bytes:
            findings_topic(findings, group.topic_id, name, group.name_bytes, &code)
            if code < 0:
                return code
            name += group.name_bytes
        group.position += position
        code = findings_group(findings, at + (group.position - position), &group, file, source)
        if code < 0:
            return code
    if header.epoch > findings.epoch_seen:
        findings.epoch_seen = header.epoch
    return note_found(findings, file, since) if source == SOURCE_EXTENT else 0


# -------------------------------------------------------------------------------------------------------- log files

cdef int scan_log_file(Findings *findings, Window *window, LogFile *file, bint beyond, bint *damaged) noexcept nogil:
    cdef uint64_t position = file.end if file.end >= BLOCK_BYTES else <uint64_t>BLOCK_BYTES
    cdef uint64_t ahead = READ_AHEAD_BYTES, size, following
    cdef const uint8_t *at
    cdef bint proven = False
    cdef int code = 0
    file.end = position
    while position + BLOCK_BYTES <= file.file.size:
        at = header_at(findings, window, position, file.number, EXTENT_KIND_LOG, ahead, &code)
        if code == -ENOMEM or code == LOG_TOO_NEW:
            return code
        if code < 0:
            damaged[0] = True
        if at == NULL:
            if not beyond and code == 0:
                if not findings.unclean:            # how far it all went the snapshot tells
                    break
                following = gap_end(findings, window, file, position, EXTENT_KIND_LOG, file.end, &code)
                if code < 0:
                    return code
                if following == 0:
                    break
                proven = True
                position = following
                continue
            position += BLOCK_BYTES
            continue
        if position != file.end:
            damaged[0] = True
            if findings_gap(findings, file, file.end, position, proven) < 0:
                return -ENOMEM
            proven = False
        size = (<const ExtentHeader *>at).size
        ahead = READ_AHEAD_DEAD_BYTES
        if not all_dead(findings, at):
            ahead = READ_AHEAD_BYTES
            at = window_at(window, position, size, ahead, &code)
            if at == NULL:                          # its header can be read, not all of the rest: what is behind it can
                if code == -ENOMEM:
                    return code
                damaged[0] = True
                position += BLOCK_BYTES
                continue
            code = scan_groups(findings, at, file, position, SOURCE_EXTENT)
            if code < 0:
                return code
        findings.log.recovery.extents_scanned += 1
        position += size
        file.end = position
    if beyond and file.end < file.file.size:
        return findings_gap(findings, file, file.end, file.file.size, False)
    return 0


cdef int scan_table(Findings *findings, Window *window, LogFile *file, const SnapshotFile *row) noexcept nogil:
    cdef const uint8_t *at
    cdef const GroupHeader *group
    cdef Found found
    cdef uint32_t i
    cdef int code = 0, result
    if row.table_position % BLOCK_BYTES or row.table_bytes < sizeof(TableHead):
        return 0
    at = window_at(window, row.table_position, row.table_bytes, 0, &code)
    if code == -ENOMEM:
        return code
    if at == NULL or crc32c(0, at, row.table_bytes) != row.table_crc:
        return 0
    result = table_check(at, row.table_bytes, findings.log.catalog.log_id, row.number, row.table_position)
    if result < 0:
        return refuse(findings.log, LOG_TOO_NEW, b"a table", file.file.name,
                      (<const TableHead *>at).version)
    if result == 0:
        return 0
    memset(&found, 0, sizeof(found))
    found.file = file
    found.source = SOURCE_EXTENT
    for i in range((<const TableHead *>at).groups):
        group = <const GroupHeader *>(at + sizeof(TableHead)) + i
        if group.position + group.bytes > file.file.size:
            return 0
        found.group = group[0]
        if findings_add(findings, &found) < 0:
            return -ENOMEM
    return 1


# ---------------------------------------------------------------------------------------------------- journal files

cdef int changes_keep(Findings *findings, const uint8_t *at, uint64_t bytes, uint64_t *last_stamp) noexcept nogil:
    """Those that the snapshot does not cover; in the end they are applied in the order of their stamps."""
    cdef const Change *change
    cdef uint64_t room = findings.changes_room
    cdef void *memory
    while bytes:
        change = change_read(at, bytes)
        if change == NULL:
            return 0
        if change.stamp > last_stamp[0]:
            last_stamp[0] = change.stamp
        if change.stamp > findings.stamp_seen:
            findings.stamp_seen = change.stamp
        if change.stamp > findings.snapshot_stamp:
            if findings.changes_bytes + change.size > room:
                room = (findings.changes_bytes + change.size) * 2
                memory = realloc(findings.changes, room)
                if memory == NULL:
                    return -ENOMEM
                findings.changes = <uint8_t *>memory
                findings.changes_room = room
            memcpy(findings.changes + findings.changes_bytes, change, change.size)
            findings.changes_bytes += change.size
        at += change.size
        bytes -= change.size
    return 0


cdef int scan_record(Findings *findings, const uint8_t *at, LogFile *file, uint64_t position, Records *records,
                     uint64_t *last_stamp) noexcept nogil:
    cdef const ExtentHeader *header = <const ExtentHeader *>at
    cdef int code = scan_groups(findings, at, file, position, SOURCE_JOURNAL)
    if code < 0:
        return code
    if records.next == 0:
        records.first = header.sequence
    records.next = header.sequence + 1
    records.flushed = max(records.flushed, header.flushed)
    findings.log.recovery.records_read += 1
    return changes_keep(findings, extent_changes(at), header.changes, last_stamp)


cdef int scan_journal_file(Findings *findings, Window *window, LogFile *file, bint beyond, Records *records,
                           uint64_t *last_stamp) noexcept nogil:
    cdef uint64_t position = file.end, following
    cdef const uint8_t *at
    cdef bint proven = False
    cdef int code = 0
    while position + BLOCK_BYTES <= file.file.size:
        at = header_at(findings, window, position, file.number, EXTENT_KIND_JOURNAL, READ_AHEAD_BYTES, &code)
        if code == -ENOMEM or code == LOG_TOO_NEW:
            return code
        if at != NULL:
            at = window_at(window, position, (<const ExtentHeader *>at).size, READ_AHEAD_BYTES, &code)
            if code == -ENOMEM:
                return code
        if at == NULL:
            if not beyond and code == 0:
                if not findings.unclean:            # how far it all went the snapshot tells
                    break
                following = gap_end(findings, window, file, position, EXTENT_KIND_JOURNAL, records.next, &code)
                if code < 0:
                    return code
                if following == 0:
                    break
                proven = records.next != 0          # else what follows may be of an earlier use, and then is nothing new
                position = following
                continue
            position += BLOCK_BYTES
            continue
        if position != file.end:
            if findings_gap(findings, file, file.end, position, proven) < 0:
                return -ENOMEM
            proven = False
        file.number = (<const ExtentHeader *>at).number
        code = scan_record(findings, at, file, position, records, last_stamp)
        if code < 0:
            return code
        position += (<const ExtentHeader *>at).size
        file.end = position
    if beyond and file.end < file.file.size:
        return findings_gap(findings, file, file.end, file.file.size, False)
    return 0
