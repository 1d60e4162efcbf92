"""Log files: the one being filled, the full ones, the spare ones; their numbers, tables, and who still needs them.

Invariants. A file's number is drawn from (epoch, counter) and written into its head before its first extent
(recycle_head). Blocks are allocated before the head is written: a full disk is an error here, never at a write. A file
becomes LOGFILE_FLUSHED, so that a snapshot may list it, only when every extent of it, its table and its head are
flushed (snap_flushed). Who holds flush_lock and finds no file marked `unflushed` may rely on it (sync_logs): a mark is
cleared and the flush made under that lock, so no file is without a mark while it is still on its way to the disk.

Threads: the list under files.lock; all else belongs to the I/O thread. Flushers take flush_lock and pin a file. No GIL.
"""
from walrus._checksum cimport crc32c
from walrus._device cimport (FILE_CREATE, FILE_MAP, device_flush, device_sync_directory, device_unlink, device_write,
                             file_allocate, file_close, file_drop_cache, file_open)
from walrus._extent cimport BLOCK_BYTES
from walrus._libc cimport (ENOMEM, WALRUS_DEBUG, calloc, free, memcpy, memset, posix_memalign, realloc, walrus_add32,
                           walrus_exchange32, walrus_load32, walrus_load64, walrus_lock, walrus_realtime_ns,
                           walrus_store64, walrus_unlock)
from walrus._logfile_format cimport TableHead, logfile_head_write, table_bytes, table_seal
from walrus._rules cimport RULE_RECYCLE_HEAD, RULE_SNAP_FLUSHED, rule_broken
from libc.stdio cimport snprintf


cdef void logfile_name(char *text, uint64_t name) noexcept nogil:
    snprintf(text, 64, b"log-%08llu", <unsigned long long>name)


cdef LogFile *logfile_new(LogFiles *files, uint64_t name) noexcept nogil:
    cdef LogFile *at
    cdef LogFile *file = <LogFile *>calloc(1, sizeof(LogFile))
    if file == NULL:
        return NULL
    file.name = name
    file.file.fd = -1
    walrus_lock(&files.lock)
    if files.first == NULL or files.first.name > name:
        file.next = files.first
        files.first = file
        if files.last == NULL:
            files.last = file
    else:
        at = files.first
        while at.next != NULL and at.next.name < name:
            at = at.next
        file.next = at.next
        at.next = file
        if files.last == at:
            files.last = file
    files.count += 1
    walrus_unlock(&files.lock)
    return file


cdef void list_take_out(LogFiles *files, LogFile *file) noexcept nogil:
    cdef LogFile *at = files.first
    cdef LogFile *before = NULL
    while at != NULL and at != file:
        before = at
        at = at.next
    if at == NULL:
        return
    if before == NULL:
        files.first = file.next
    else:
        before.next = file.next
    if files.last == file:
        files.last = before
    files.count -= 1


cdef void logfile_drop(LogFiles *files, Device *device, LogFile *file) noexcept nogil:
    walrus_lock(&files.lock)
    list_take_out(files, file)
    walrus_unlock(&files.lock)
    if file.file.fd >= 0:
        file_close(device, &file.file)
    free(file.table)
    free(file)


cdef LogFile *spare_find(LogFiles *files, uint64_t least) noexcept nogil:
    cdef LogFile *file
    walrus_lock(&files.lock)
    file = files.first
    while file != NULL and (file.state != LOGFILE_SPARE or walrus_load32(&file.pins) or file.file.size < least):
        file = file.next
    walrus_unlock(&files.lock)
    return file


cdef int head_store(LogFiles *files, Device *device, LogFile *file, const uint8_t *log_id, uint32_t epoch) noexcept nogil:
    cdef void *block = NULL
    cdef int result
    if posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES):
        return -ENOMEM
    if not (WALRUS_DEBUG and rule_broken(RULE_RECYCLE_HEAD) and file.number):
        files.next_counter += 1
        file.number = (<uint64_t>epoch << 32) | (files.next_counter & <uint64_t>0xFFFFFFFF)
    logfile_head_write(<uint8_t *>block, log_id, file.number, file.file.size, walrus_realtime_ns())
    result = device_write(device, &file.file, block, BLOCK_BYTES, 0)
    free(block)
    walrus_add32(&file.unflushed, 1)
    return result


cdef int logfile_clear(LogFile *file, Device *device) noexcept nogil:
    cdef void *block = NULL
    cdef int result
    if posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES):
        return -ENOMEM
    memset(block, 0, BLOCK_BYTES)
    result = device_write(device, &file.file, block, BLOCK_BYTES, 0)
    free(block)
    return result


cdef LogFile *file_make(LogFiles *files, Device *device, uint64_t least, int *code) noexcept nogil:
    cdef char name[64]
    cdef LogFile *file = logfile_new(files, files.next_name)
    if file == NULL:
        code[0] = -ENOMEM
        return NULL
    logfile_name(name, file.name)
    code[0] = file_open(device, &file.file, name, FILE_CREATE | FILE_MAP)
    if code[0] >= 0:
        code[0] = file_allocate(device, &file.file, files.bytes_wanted if files.bytes_wanted > least else least)
    if code[0] >= 0:
        code[0] = device_sync_directory(device)
    if code[0] < 0:
        if file.file.fd >= 0:
            device_unlink(device, name)
        logfile_drop(files, device, file)
        return NULL
    files.next_name += 1
    files.created += 1
    files.total_bytes += file.file.size
    if files.bytes_wanted * 2 <= files.bytes_max:
        files.bytes_wanted *= 2
    return file


cdef int logfiles_advance(LogFiles *files, Device *device, const uint8_t *log_id, uint32_t epoch,
                          uint64_t least) noexcept nogil:
    cdef int result = 0
    cdef LogFile *file = spare_find(files, least)
    if file != NULL:
        file_drop_cache(device, &file.file)
        if file.punched:                            # holes have no blocks: a store there could meet a full disk
            result = file_allocate(device, &file.file, file.file.size)
            if result < 0:
                return result
        files.recycled += 1
    else:
        file = file_make(files, device, least, &result)
        if file == NULL:
            return result
    file.punched = False
    file.table_count = 0
    file.live = 0
    file.live_bytes = 0
    file.end = BLOCK_BYTES
    file.landed = BLOCK_BYTES
    file.flushed = 0
    result = head_store(files, device, file, log_id, epoch)
    if result < 0:
        return result
    walrus_lock(&files.lock)
    file.state = LOGFILE_CURRENT
    files.current = file
    walrus_unlock(&files.lock)
    return 0


cdef int logfile_note(LogFile *file, const GroupHeader *group) noexcept nogil:
    cdef uint32_t room
    cdef void *memory
    if file.table_count == file.table_room:
        room = file.table_room * 2 if file.table_room else <uint32_t>64
        memory = realloc(file.table, room * sizeof(GroupHeader))
        if memory == NULL:
            return -ENOMEM
        file.table = <GroupHeader *>memory
        file.table_room = room
    file.table[file.table_count] = group[0]
    file.table_count += 1
    return 0


cdef bint logfile_fits(LogFile *file, uint64_t bytes, uint32_t groups) noexcept nogil:
    cdef uint64_t table = table_bytes(file.table_count + groups)
    table = (table + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    return file.end + bytes + table <= file.file.size


cdef int table_store(LogFile *file, Device *device, const uint8_t *log_id) noexcept nogil:
    cdef uint64_t bytes = table_bytes(file.table_count)
    cdef uint64_t padded = (bytes + BLOCK_BYTES - 1) & ~<uint64_t>(BLOCK_BYTES - 1)
    cdef void *memory = NULL
    cdef int result
    if posix_memalign(&memory, BLOCK_BYTES, padded):
        return -ENOMEM
    memset(memory, 0, padded)
    memcpy(<uint8_t *>memory + sizeof(TableHead), file.table, file.table_count * sizeof(GroupHeader))
    table_seal(<uint8_t *>memory, log_id, file.number, file.end, file.table_count, file.end)
    file.table_position = file.end
    file.table_size = bytes
    file.table_crc = crc32c(0, memory, bytes)
    result = device_write(device, &file.file, memory, padded, file.end)
    free(memory)
    return result


cdef int flush_marked(LogFiles *files, Device *device, LogFile *file) noexcept nogil:
    """Holds flush_lock. The mark goes first: a write that completes during the flush is left for the next one."""
    cdef uint64_t landed = walrus_load64(&file.landed)
    if files.flush_error == 0:
        walrus_exchange32(&file.unflushed, 0)
        files.flush_error = device_flush(device, &file.file)
    if files.flush_error == 0:
        walrus_store64(&file.flushed, landed)
    return files.flush_error


cdef int logfile_finish(LogFiles *files, LogFile *file, Device *device, const uint8_t *log_id) noexcept nogil:
    cdef int result = table_store(file, device, log_id)
    if result < 0:
        return result
    if WALRUS_DEBUG and rule_broken(RULE_SNAP_FLUSHED):
        walrus_add32(&file.unflushed, 1)            # left to the next sync
    else:
        walrus_lock(&files.flush_lock)
        result = flush_marked(files, device, file)
        walrus_unlock(&files.flush_lock)
    if result < 0:
        return result
    free(file.table)                                # the disk has it; a recycled file begins a new one
    file.table = NULL
    file.table_room = 0
    file.state = LOGFILE_FLUSHED
    return 0


cdef int logfiles_flush(LogFiles *files, Device *device) noexcept nogil:
    cdef LogFile *file
    cdef int result = 0
    walrus_lock(&files.flush_lock)
    while result >= 0:
        walrus_lock(&files.lock)
        file = files.first
        while file != NULL and walrus_load32(&file.unflushed) == 0:
            file = file.next
        if file != NULL:
            walrus_add32(&file.pins, 1)
        walrus_unlock(&files.lock)
        if file == NULL:
            break
        result = flush_marked(files, device, file)
        walrus_add32(&file.pins, <uint32_t>-1)
    walrus_unlock(&files.flush_lock)
    return result


cdef void logfiles_close(LogFiles *files, Device *device) noexcept nogil:
    while files.first != NULL:
        logfile_drop(files, device, files.first)
