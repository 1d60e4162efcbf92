"""Reopening files: log files and journal files of an earlier open, read and put into the state in which writing goes
on.

Rules kept here: open_flushes (a file is flushed before what is read in it is taken for durable), journal_adopted (no
journal file that was read is ready to be overwritten). A file is listed if a row of the snapshot names it with the
number in its head; its table is read then, not its extents. Nothing is deleted but files that never got as far as a
head.

Threads: opening alone. No GIL.
"""
from walrus._device cimport FILE_MAP, device_flush, device_unlink, file_allocate, file_drop_cache, file_open
from walrus._extent cimport BLOCK_BYTES, EXTENT_KIND_LOG, ExtentHeader, extent_check
from walrus._findings cimport Records, findings_gap, refuse
from walrus._journal cimport JOURNAL_FILES_MAX, journal_close, journal_open
from walrus._libc cimport (ENOENT, ENOMEM, WALRUS_DEBUG, memset, uint8_t, uint64_t)
from walrus._log_state cimport LOG_CORRUPT, LOG_FOREIGN, LOG_TOO_NEW, Log
from walrus._logfile_format cimport LogFileHead, logfile_head_read, table_bytes
from walrus._logfiles cimport (LOGFILE_CURRENT, LOGFILE_FULL, LOGFILE_LISTED, LOGFILE_SPARE, LOG_FILE_BYTES_MAX,
                               LOG_FILE_BYTES_MIN, LogFile, logfile_drop, logfile_name, logfile_new)
from walrus._rules cimport RULE_JOURNAL_ADOPTED, RULE_OPEN_FLUSHES, rule_broken
from walrus._scan cimport scan_journal_file, scan_log_file, scan_table, window_at, window_begin
from walrus._survey cimport all_zero

cdef enum:
    JOURNAL_FILE_BYTES_MAX_BITS = 32
    FILE_COUNTER_MASK = 0xFFFFFFFF


# ---------------------------------------------------------------------------------------------------------- journal

cdef int flush_before_reading(Log *log, LogFile *file) noexcept nogil:
    if WALRUS_DEBUG and rule_broken(RULE_OPEN_FLUSHES):
        return 0
    cdef int result = device_flush(&log.device, &file.file)
    # After a flush that failed in an earlier life the page cache has, as clean, what the disk has not.
    if result >= 0 and not file.file.direct:
        file_drop_cache(&log.device, &file.file)
    return result


cdef int journal_files_open(Log *log, const Survey *survey, const SnapshotHead *head) noexcept nogil:
    """A missing file is made (what it held, claims will tell); one that was cut short keeps what it has."""
    cdef uint32_t i, wanted
    cdef int result
    if (head.journal_files == 0 or head.journal_files > JOURNAL_FILES_MAX or head.journal_file_bytes % BLOCK_BYTES
            or head.journal_file_bytes == 0 or head.journal_file_bytes > <uint64_t>1 << JOURNAL_FILE_BYTES_MAX_BITS):
        return refuse(log, LOG_CORRUPT, b"sizes of the journal", b"catalog.0 and catalog.1", 0)
    wanted = (<uint32_t>1 << head.journal_files) - 1
    result = journal_open(&log.journal, &log.device, head.journal_files, head.journal_file_bytes, False)
    if result == -ENOENT and (survey.journals & wanted) != wanted:
        journal_close(&log.journal, &log.device)
        result = journal_open(&log.journal, &log.device, head.journal_files, head.journal_file_bytes, True)
    for i in range(log.journal.count):
        if result >= 0 and log.journal.files[i].file.size < log.journal.file_bytes:
            result = file_allocate(&log.device, &log.journal.files[i].file, log.journal.file_bytes)
    return result if result < 0 else 0


cdef int tails_look(Findings *findings) noexcept nogil:
    """The ring goes on in another file: does that one say that more had been flushed here? Then the last records are damaged."""
    cdef Log *log = findings.log
    cdef const Records *own
    cdef const Records *other
    cdef uint32_t i, j
    cdef bint goes_on, flushed
    for i in range(log.journal.count):
        own = &findings.records[i]
        goes_on = own.next == 0
        flushed = False
        for j in range(log.journal.count):
            other = &findings.records[j]
            goes_on = goes_on or other.next != 0 and other.first == own.next
            flushed = flushed or other.first > own.next and other.flushed > own.next
        if flushed and not goes_on and findings_gap(findings, log.journal.files[i], log.journal.files[i].end,
                                                    log.journal.files[i].file.size, True) < 0:
            return -ENOMEM
    return 0


cdef int reopen_journal(Findings *findings, Window *window, const Survey *survey,
                        const SnapshotHead *head) noexcept nogil:
    cdef Log *log = findings.log
    cdef LogFile *file
    cdef uint32_t i
    cdef int result = journal_files_open(log, survey, head)
    log.journal.sequence = head.record_sequence
    for i in range(log.journal.count):
        if result < 0:
            break
        file = log.journal.files[i]
        result = flush_before_reading(log, file)
        if result >= 0:
            file.number = 0
            file.end = 0
            window_begin(window, &log.device, &file.file)
            result = scan_journal_file(findings, window, file, False, &findings.records[i], &log.journal.last_stamp[i])
        if result >= 0:
            log.journal.sequence = max(log.journal.sequence, findings.records[i].next)
    return tails_look(findings) if result >= 0 else result


cdef void reopen_ring(Findings *findings, const SnapshotHead *head) noexcept nogil:
    cdef Log *log = findings.log
    cdef uint32_t i, newest = 0
    log.journal.next_use = head.journal_use if head.journal_use else <uint64_t>1
    for i in range(log.journal.count):
        if log.journal.files[i].number >= log.journal.next_use:
            log.journal.next_use = log.journal.files[i].number + 1
        if log.journal.files[i].number > log.journal.files[newest].number:
            newest = i
        if WALRUS_DEBUG and rule_broken(RULE_JOURNAL_ADOPTED):
            log.journal.ready[i] = True
    if log.journal.files[newest].number == 0:
        log.journal.files[newest].number = log.journal.next_use
        log.journal.next_use += 1
    log.journal.at = newest
    log.journal.position = log.journal.files[newest].end
    log.journal.flushed = log.journal.sequence      # what of it was cut, too; behind a gap the next opening looks for that
    log.journal.ready[newest] = False


# -------------------------------------------------------------------------------------------------------- log files

cdef const SnapshotFile *row_of(const SnapshotFile *rows, uint32_t count, uint64_t name) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if rows[i].name == name:
            return rows + i
    return NULL


cdef uint64_t size_least(const Log *log) noexcept nogil:
    """What a file must have to be of use as a spare one."""
    return log.options.log_file_bytes if log.options.log_file_bytes else <uint64_t>LOG_FILE_BYTES_MIN


cdef int list_reopen(Findings *findings, Window *window, LogFile *file, const SnapshotFile *row) noexcept nogil:
    cdef int result
    cdef bint damaged = False
    file.state = LOGFILE_LISTED
    file.number = row.number
    file.table_position = row.table_position
    file.table_size = row.table_bytes
    file.table_crc = row.table_crc
    file.punched = (row.flags & 1) != 0
    findings.log.recovery.files_listed += 1
    result = scan_table(findings, window, file, row)
    if result == 0:                                 # damaged: its extents themselves, over whatever gaps
        findings.log.recovery.files_scanned += 1
        file.end = BLOCK_BYTES
        result = scan_log_file(findings, window, file, True, &damaged)
    file.end = row.end
    return result if result < 0 else 0


cdef int scan_reopen(Findings *findings, Window *window, LogFile *file, bint head_valid) noexcept nogil:
    """Not listed: flushed, then scanned to the first gap. Without a valid head nothing more is written into it."""
    cdef Log *log = findings.log
    cdef bint damaged = not head_valid
    cdef int result = flush_before_reading(log, file)
    if result < 0:
        return result
    file.state = LOGFILE_FULL
    file.scanned = True
    file.end = BLOCK_BYTES
    log.recovery.files_scanned += 1
    # What was read before the flush is read again.
    window_begin(window, &log.device, &file.file)
    result = scan_log_file(findings, window, file, False, &damaged)
    file.broken = damaged
    return result


cdef uint64_t number_by_extent(Log *log, Window *window) noexcept nogil:
    """The number that the first extent is seeded with: it stands for a head that does not validate. 0: none."""
    cdef int code = 0
    cdef uint64_t room, number
    cdef const uint8_t *at = window_at(window, BLOCK_BYTES, BLOCK_BYTES, 0, &code)
    if at == NULL:
        return 0
    room = window.file.size - BLOCK_BYTES
    number = (<const ExtentHeader *>at).number
    code = extent_check(at, BLOCK_BYTES, room, log.catalog.log_id, number, BLOCK_BYTES, EXTENT_KIND_LOG)
    if code == 2 and (<const ExtentHeader *>at).header_bytes <= room:
        at = window_at(window, BLOCK_BYTES, (<const ExtentHeader *>at).header_bytes, 0, &code)
        if at == NULL:
            return 0
        code = extent_check(at, (<const ExtentHeader *>at).header_bytes, room, log.catalog.log_id, number, BLOCK_BYTES,
                            EXTENT_KIND_LOG)
    return number if code == 1 else 0


cdef int headless_reopen(Findings *findings, Window *window, LogFile *file, bint blank) noexcept nogil:
    """No valid head, and not listed: a spare one whose head was being written, or one not yet made, or damage."""
    cdef Log *log = findings.log
    cdef const uint8_t *at
    cdef char name[64]
    cdef int result = 0
    file.number = number_by_extent(log, window)
    if file.number:
        return scan_reopen(findings, window, file, False)
    if blank and file.file.size < size_least(log):
        logfile_name(name, file.name)
        result = device_unlink(&log.device, name)
        logfile_drop(&log.files, &log.device, file)
        return result if result < 0 else 0
    at = window_at(window, BLOCK_BYTES, BLOCK_BYTES, 0, &result)
    if file.file.size >= size_least(log) and at != NULL and (blank or all_zero(at, BLOCK_BYTES)):
        file.state = LOGFILE_SPARE
        return 0
    logfile_drop(&log.files, &log.device, file)     # left alone on the disk
    return 0


cdef int log_file_reopen(Findings *findings, Window *window, LogFile *file, const SnapshotFile *row) noexcept nogil:
    cdef Log *log = findings.log
    cdef LogFileHead head
    cdef const uint8_t *block
    cdef int valid = 0, code = 0
    cdef bint blank = True
    window_begin(window, &log.device, &file.file)
    memset(&head, 0, sizeof(head))
    block = window_at(window, 0, BLOCK_BYTES, 0, &code)
    if code == -ENOMEM:
        return code
    if block != NULL:
        valid = logfile_head_read(block, log.catalog.log_id, &head)
        blank = all_zero(block, BLOCK_BYTES)
    if valid == -2:
        return refuse(log, LOG_FOREIGN, b"its head names another one", file.file.name, 0)
    if valid == -1:
        return refuse(log, LOG_TOO_NEW, b"a log file", file.file.name, <int>head.version)
    file.number = head.number
    if row != NULL and (valid != 1 or head.number == row.number):
        return list_reopen(findings, window, file, row)
    if valid == 1:
        return scan_reopen(findings, window, file, True)
    if code < 0:
        return code                                 # an I/O error is no empty file
    return headless_reopen(findings, window, file, blank)


cdef int reopen_log_files(Findings *findings, Window *window, const Survey *survey, const SnapshotFile *rows,
                          uint32_t count) noexcept nogil:
    cdef Log *log = findings.log
    cdef LogFile *file
    cdef char name[64]
    cdef uint64_t i, number
    cdef int result
    for i in range(survey.count):
        file = logfile_new(&log.files, survey.names[i])
        if file == NULL:
            return -ENOMEM
        log.files.next_name = survey.names[i] + 1
        logfile_name(name, file.name)
        result = file_open(&log.device, &file.file, name, FILE_MAP)
        if result < 0:
            return result
        result = log_file_reopen(findings, window, file, row_of(rows, count, survey.names[i]))
        if result < 0:
            return result
    file = log.files.first
    while file != NULL:
        number = file.number
        log.files.total_bytes += file.file.size
        if number & FILE_COUNTER_MASK > log.files.next_counter:
            log.files.next_counter = number & FILE_COUNTER_MASK
        if number >> 32 > findings.epoch_seen:
            findings.epoch_seen = number >> 32
        file = file.next
    return 0


cdef int reopen_beyond(Findings *findings, Window *window) noexcept nogil:
    cdef Log *log = findings.log
    cdef LogFile *file = log.files.first
    cdef uint32_t i
    cdef int result
    while file != NULL:
        if file.scanned:
            window_begin(window, &log.device, &file.file)
            result = scan_log_file(findings, window, file, True, &file.broken)
            if result < 0:
                return result
        file = file.next
    for i in range(log.journal.count):
        window_begin(window, &log.device, &log.journal.files[i].file)
        result = scan_journal_file(findings, window, log.journal.files[i], True, &findings.records[i],
                                   &log.journal.last_stamp[i])
        if result < 0:
            return result
        log.journal.sequence = max(log.journal.sequence, findings.records[i].next)
    return 0


# ----------------------------------------------------------------------------------------------------------- states

cdef int table_room(Log *log, LogFile *file) noexcept nogil:
    """A full file's table goes behind its extents; what damage left may need more room than was kept."""
    cdef uint64_t table = (table_bytes(file.table_count) + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    if file.end + table <= file.file.size:
        return 0
    return file_allocate(&log.device, &file.file, file.end + table)


cdef void sizes_wanted(Log *log, uint64_t largest) noexcept nogil:
    """Files go on growing from where they were."""
    if log.options.log_file_bytes or largest < LOG_FILE_BYTES_MIN:
        return
    log.files.bytes_wanted = largest * 2 if largest < LOG_FILE_BYTES_MAX // 2 else <uint64_t>LOG_FILE_BYTES_MAX


cdef int reopen_states(Findings *findings) noexcept nogil:
    cdef Log *log = findings.log
    cdef LogFile *file = log.files.first
    cdef LogFile *newest = NULL
    cdef uint64_t largest = 0
    cdef int result
    while file != NULL:
        if newest == NULL or file.number > newest.number:
            newest = file
        if file.file.size > largest:
            largest = file.file.size
        file = file.next
    sizes_wanted(log, largest)
    file = log.files.first
    while file != NULL:
        if file.scanned and file == newest and not file.broken and file.end + 2 * BLOCK_BYTES <= file.file.size:
            file.state = LOGFILE_CURRENT
            file.landed = file.end
            file.flushed = file.end
            log.files.current = file
        elif file.scanned and file.live == 0 and not file.broken and file.file.size >= size_least(log):
            file.state = LOGFILE_SPARE              # all of it is dead below durable watermarks, or cut
        elif file.scanned:
            result = table_room(log, file)
            if result < 0:
                return result
        file = file.next
    return 0
