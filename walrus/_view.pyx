"""View: a log that another process writes, read through its mapped staging and control files and its log files.

What is read is checked after the copy: the frames' checksums, and that no chunk of the topic was used again meanwhile; if one was, or a
frame does not validate, chunks and files are looked at anew before anything is called damage. The writer never waits for a view.

Threads: one call at a time per view. No GIL.
"""
from walrus._control cimport (CONTROL_CLOSED, CONTROL_MAGIC, CONTROL_TOPICS_MAX, CONTROL_VERSION, ControlCursor,
                              ControlHead, ControlTopic, control_cursor, control_cursor_named, control_head_crc,
                              control_own, control_store, control_stored, control_storing)
from walrus._device cimport DEVICE_PWRITE, FILE_READ_ONLY, device_close, device_open, device_read, file_open
from walrus._extent cimport (BLOCK_BYTES, EXTENT_KIND_LOG, GROUP_KIND_PIECE, GROUP_KIND_RUN, ExtentHeader, GroupHeader,
                             extent_check, extent_group)
from walrus._findings cimport refuse
from walrus._frame cimport FRAME_KIND_PIECE, FrameView, frame_peek, frame_read
from walrus._libc cimport (EAGAIN, ENOENT, ENOMEM, EROFS, MAP_FAILED, MAP_SHARED, O_CLOEXEC, O_DIRECTORY, O_RDONLY,
                           O_RDWR, PROT_READ, PROT_WRITE, calloc, close, errno, free, int64_t, memcmp, memcpy, memset,
                           mmap, munmap, open, openat, posix_memalign, walrus_add32, walrus_add64, walrus_exchange32,
                           walrus_fence, walrus_file_size, walrus_futex_wait, walrus_inode, walrus_inode_at,
                           walrus_is_read_only, walrus_load32, walrus_load64, walrus_store64)
from walrus._log_state cimport (LOG_CORRUPT, LOG_END, LOG_FOREIGN, LOG_NO_MEMORY, LOG_OUT_OF_RANGE, LOG_TOO_NEW,
                                LOG_UNSETTLED, SCHEDULE_EACH)
from walrus._logfile_format cimport LogFileHead, logfile_head_read
from walrus._logfiles cimport LogFile, logfile_drop, logfile_name, logfile_new, logfiles_close
from walrus._read cimport reader_rest, reader_seek
from walrus._read_cache cimport read_cache_close, read_cache_forget, read_cache_open
from walrus._scan cimport Window, window_at, window_begin, window_free
from walrus._staging cimport (CHUNK_BYTES_MIN, CHUNK_CLASSES, CHUNK_GROUPS, SLOT_USED, STAGING_MAGIC, STAGING_VERSION, Chunk, ChunkSlot,
                              Staging, StagingHead, chunk_data_start, class_bytes, slot_crc)
from walrus._survey cimport Survey, boot_id_read, survey_directory, survey_free
from walrus._take cimport take
from walrus._topics cimport (CURSOR_NAMED, place_insert, places_drop, topic_by_id, topic_enter, topic_epoch_limit, topics_close,
                             topics_open)
from libc.string cimport strncpy

cdef enum:
    CURSORS_AT = 134217728              # as in _control.pyx
    NAMES_AT = 268435456
    TOPICS_AT = 1048576
    CONTROL_BYTES = 1342177280
    NAME_BYTES_MAX = 1024
    READ_CACHE_BYTES = 33554432
    HEADERS_AHEAD = 65536
    TRIES_MAX = 6
    RETRY_NS = 500000


# --------------------------------------------------------------------------------------------------------------- opening

cdef int control_descriptor(View *view, int kept) noexcept nogil:
    cdef int directory = view.log.directory
    cdef int fd = kept
    if kept >= 0 and walrus_inode(kept) != walrus_inode_at(directory, b"control"):
        close(kept)
        fd = -1
    if fd < 0:
        fd = openat(directory, b"control", O_RDWR | O_CLOEXEC)
    if fd < 0:
        fd = openat(directory, b"control", O_RDONLY | O_CLOEXEC)
    return fd if fd >= 0 else -errno


cdef int head_look(View *view) noexcept nogil:
    """Is it one to read by? Its writer may be making it, or opening the log."""
    cdef Log *log = &view.log
    cdef ControlHead head = log.control.head[0]
    cdef uint8_t boot_id[16]
    walrus_fence()
    if head.magic != CONTROL_MAGIC:
        return LOG_FOREIGN
    if head.crc != control_head_crc(&head):
        if head.opening or walrus_load32(&log.control.head.opening):
            return LOG_UNSETTLED
        return refuse(log, LOG_CORRUPT, b"its head does not validate", b"control", 0)
    if head.version != CONTROL_VERSION:
        return refuse(log, LOG_TOO_NEW, b"a control file", b"control", <int>head.version)
    boot_id_read(boot_id)
    if head.opening or (head.state != CONTROL_CLOSED and memcmp(head.boot_id, boot_id, 16) != 0):
        return LOG_UNSETTLED
    view.epoch = head.epoch
    memcpy(log.catalog.log_id, head.log_id, 16)
    return 0


cdef int map_control(View *view, int kept) noexcept nogil:
    cdef Log *log = &view.log
    cdef int fd = control_descriptor(view, kept)
    cdef void *memory
    if fd < 0:
        return fd
    log.control.file.fd = fd
    view.writable = not walrus_is_read_only(fd)
    view.control_inode = walrus_inode(fd)
    if walrus_file_size(fd) < CONTROL_BYTES:
        return LOG_UNSETTLED
    memory = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE if view.writable else PROT_READ, MAP_SHARED, fd, 0)
    if memory == MAP_FAILED:
        return -errno
    log.control.memory = <uint8_t *>memory
    log.control.head = <ControlHead *>memory
    log.control.topics = <ControlTopic *>(log.control.memory + TOPICS_AT)
    log.control.cursors = <ControlCursor *>(log.control.memory + CURSORS_AT)
    log.control.names = log.control.memory + NAMES_AT
    return head_look(view)


cdef int map_staging(View *view) noexcept nogil:
    """Without one (or with one that is just being made) there are no staged frames to see."""
    cdef Log *log = &view.log
    cdef StagingHead *head
    cdef void *memory
    cdef int64_t size = 0
    cdef int fd = openat(log.directory, b"staging", O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return 0 if errno == ENOENT else -errno
    log.staging.file.fd = fd
    view.staging_inode = walrus_inode(fd)
    size = walrus_file_size(fd)
    if size < BLOCK_BYTES:
        return 0
    memory = mmap(NULL, <size_t>size, PROT_READ, MAP_SHARED, fd, 0)
    if memory == MAP_FAILED:
        return -errno
    log.staging.memory = <uint8_t *>memory
    log.staging.bytes = <uint64_t>size
    head = <StagingHead *>memory
    if (head.magic != STAGING_MAGIC or head.version != STAGING_VERSION or memcmp(head.log_id, log.catalog.log_id, 16) != 0
            or head.chunks_position + <uint64_t>head.slots * CHUNK_BYTES_MIN > <uint64_t>size
            or BLOCK_BYTES + <uint64_t>head.slots * sizeof(ChunkSlot) > head.chunks_position):
        return 0
    log.staging.head = head
    log.staging.slots = <ChunkSlot *>(log.staging.memory + BLOCK_BYTES)
    log.staging.chunks = log.staging.memory + head.chunks_position
    log.staging.chunk = <Chunk *>calloc(head.slots, sizeof(Chunk))
    if log.staging.chunk == NULL:
        return LOG_NO_MEMORY
    log.staging.slot_count = head.slots
    return 0


cdef int parts_open(View *view, int control_fd) noexcept nogil:
    cdef Log *log = &view.log
    cdef int result = map_control(view, control_fd)
    if result:
        return result
    result = device_open(&log.device, log.directory, -1, DEVICE_PWRITE)
    log.device_opened = result == 0
    if result == 0:
        result = topics_open(&log.topics)
    if result == 0:
        result = read_cache_open(log, READ_CACHE_BYTES)
    if result == 0:
        result = map_staging(view)
    if result == 0:
        result = view_refresh(view)
    return result


cdef int view_open(View *view, const char *path, int control_fd) noexcept nogil:
    cdef Log *log = &view.log
    cdef int result
    memset(view, 0, sizeof(View))
    log.lock_fd = -1
    log.staging.file.fd = -1
    log.control.file.fd = -1
    log.catalog.slot[0].fd = -1
    log.catalog.slot[1].fd = -1
    strncpy(log.path, path, sizeof(log.path) - 1)
    log.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if log.directory < 0:
        result = -errno
        if control_fd >= 0:
            close(control_fd)
        return result
    view.opened = True
    return parts_open(view, control_fd)


cdef void view_close(View *view) noexcept nogil:
    cdef Log *log = &view.log
    if not view.opened:
        return
    view.opened = False
    if log.staging.memory != NULL:
        munmap(log.staging.memory, log.staging.bytes)
    if log.control.memory != NULL:
        munmap(log.control.memory, CONTROL_BYTES)
    if log.staging.file.fd >= 0:
        close(log.staging.file.fd)
    if log.control.file.fd >= 0:
        close(log.control.file.fd)
    free(log.staging.chunk)
    if log.device_opened:
        read_cache_close(log)
        logfiles_close(&log.files, &log.device)
        device_close(&log.device)
    topics_close(&log.topics)
    close(log.directory)


cdef bint view_stale(View *view) noexcept nogil:
    return (walrus_load64(&view.log.control.head.epoch) != view.epoch
            or walrus_load32(&view.log.control.head.opening)
            or walrus_inode_at(view.log.directory, b"control") != view.control_inode
            or (view.staging_inode and walrus_inode_at(view.log.directory, b"staging") != view.staging_inode))


# ---------------------------------------------------------------------------------------------------------------- topics

cdef int view_topics(View *view) noexcept nogil:
    cdef Log *log = &view.log
    cdef uint64_t i, count = walrus_load32(&log.control.head.topics)
    cdef ControlTopic *slot
    cdef Topic *topic
    if count > CONTROL_TOPICS_MAX:                  # none of this has a checksum: it is looked at within its bounds
        return refuse(log, LOG_CORRUPT, b"its number of topics is too high", b"control", 0)
    for i in range(log.topics.count, count):
        slot = log.control.topics + i
        if (slot.state != 1 or slot.name_bytes == 0 or slot.name_bytes > NAME_BYTES_MAX
                or <uint64_t>slot.name_position + slot.name_bytes > CONTROL_BYTES - NAMES_AT):
            return refuse(log, LOG_CORRUPT, b"a topic in it is none", b"control", 0)
        topic = topic_by_id(&log.topics, slot.id)
        if topic == NULL:
            topic = topic_enter(&log.topics, log.catalog.log_id, slot.id, log.control.names + slot.name_position, slot.name_bytes)
            if topic == NULL:
                return LOG_NO_MEMORY
        topic.control = <uint8_t *>slot
    return 0


cdef void offsets_read(Topic *topic) noexcept nogil:
    cdef ControlTopic *slot = <ControlTopic *>topic.control
    topic.low = walrus_load64(&slot.low)
    walrus_store64(&topic.durable, walrus_load64(&slot.durable))
    walrus_store64(&topic.end, walrus_load64(&slot.end))


cdef uint64_t view_end(View *view, Topic *topic, bint uncommitted) noexcept nogil:
    offsets_read(topic)
    if view.log.control.head.schedule == SCHEDULE_EACH and not uncommitted:
        return topic.durable
    return topic.end


# ---------------------------------------------------------------------------------------------------------------- chunks

cdef bint frame_enter(Chunk *chunk, const FrameView *view) noexcept nogil:
    """The frame at chunk.used becomes part of the chunk's groups."""
    cdef GroupHeader *group = &chunk.group[chunk.groups - 1] if chunk.groups else NULL
    if (view.kind == FRAME_KIND_PIECE or group == NULL or group.kind != GROUP_KIND_RUN
            or group.first + group.count != view.first):
        if chunk.groups == CHUNK_GROUPS:
            return False
        group = &chunk.group[chunk.groups]
        chunk.groups += 1
        memset(group, 0, sizeof(GroupHeader))
        group.topic_id = chunk.slot.topic_id
        group.first = view.first
        group.position = chunk.used
        if view.kind == FRAME_KIND_PIECE:
            group.kind = GROUP_KIND_PIECE
            group.stamp = view.stamp
            group.piece = view.number
            group.pieces = view.pieces
            group.payload_bytes = view.body_bytes
    group.count += view.count
    group.epoch = view.epoch
    group.bytes += view.size
    chunk.used += view.size
    chunk.written = chunk.used
    if view.first + view.count > chunk.end:
        chunk.end = view.first + view.count
    return True


cdef void chunk_walk(Chunk *chunk) noexcept nogil:
    """Learns the groups of the frames that are published; their checksums are looked at when they are read."""
    cdef FrameView view
    cdef uint64_t used = walrus_load64(&chunk.slot.used)
    if used > chunk.bytes:
        return
    while chunk.used < used and frame_peek(chunk.base + chunk.used, used - chunk.used, &view) == 1:
        if not frame_enter(chunk, &view):
            return


cdef void pieces_walk(Chunk *chunk, const Topic *topic) noexcept nogil:
    """Pieces of a published large frame lie behind `used`, in the chunks before its last one. Stale bytes do not validate."""
    cdef FrameView view
    while (chunk.used < chunk.bytes
            and frame_read(chunk.base + chunk.used, chunk.bytes - chunk.used, topic.seed, &view) == 1
            and view.kind == FRAME_KIND_PIECE and view.first >= chunk.end and view.first < topic.end):
        if not frame_enter(chunk, &view):
            return


cdef bint slot_usable(const Staging *staging, const ChunkSlot *slot, uint32_t index) noexcept nogil:
    return (slot.state == SLOT_USED and slot.generation & 1 == 0 and slot.chunk_class < CHUNK_CLASSES
            and index + class_bytes(slot.chunk_class) // CHUNK_BYTES_MIN <= staging.slot_count
            and slot.used <= class_bytes(slot.chunk_class) and slot.data_start <= slot.used
            and slot.data_start == chunk_data_start(slot.chunk_class, slot.name_bytes)
            and slot.crc == slot_crc(slot, staging.chunks + <uint64_t>index * CHUNK_BYTES_MIN))


cdef void chunk_learn(View *view, uint32_t i) noexcept nogil:
    cdef ChunkSlot copy = view.log.staging.slots[i]     # its writer may use the chunk again meanwhile: one look at each field
    cdef const ChunkSlot *slot = &copy
    cdef Chunk *chunk = view.log.staging.chunk + i
    cdef Topic *topic
    if not slot_usable(&view.log.staging, slot, i):
        return
    topic = topic_by_id(&view.log.topics, slot.topic_id)
    if topic == NULL:
        return
    memset(chunk, 0, sizeof(Chunk))
    chunk.slot = view.log.staging.slots + i
    chunk.index = i
    chunk.base = view.log.staging.chunks + <uint64_t>i * CHUNK_BYTES_MIN
    chunk.bytes = class_bytes(slot.chunk_class)
    chunk.topic = topic
    chunk.sequence = slot.generation
    chunk.data_start = slot.data_start
    chunk.used = slot.data_start
    chunk.first = slot.first
    chunk.end = slot.first
    chunk_walk(chunk)
    pieces_walk(chunk, topic)
    chunk.newer = topic.oldest
    topic.oldest = chunk


cdef void chunks_learn(View *view) noexcept nogil:
    cdef uint64_t i
    for i in range(view.log.topics.count):
        view.log.topics.by_number[i].oldest = NULL
        offsets_read(view.log.topics.by_number[i])
    for i in range(view.log.staging.slot_count):
        if view.log.staging.slots[i].state == SLOT_USED:
            chunk_learn(view, <uint32_t>i)


cdef bint chunk_same(const Chunk *chunk) noexcept nogil:
    """It was not used again since it was learnt."""
    return walrus_load32(<void *>&chunk.slot.generation) == chunk.sequence and chunk.slot.state == SLOT_USED


cdef bint chunks_same(const Topic *topic, uint64_t first, uint64_t end) noexcept nogil:
    """No chunk with one of these offsets was used again."""
    cdef const Chunk *chunk = topic.oldest
    walrus_fence()                                  # what was copied was copied before the generations are looked at
    while chunk != NULL:
        if chunk.first < end and chunk.end > first and not chunk_same(chunk):
            return False
        chunk = chunk.newer
    return True


cdef void view_poll(View *view, Topic *topic) noexcept nogil:
    cdef Chunk *chunk = topic.oldest
    while chunk != NULL:
        if chunk_same(chunk):
            chunk_walk(chunk)
        chunk = chunk.newer
    offsets_read(topic)


# ----------------------------------------------------------------------------------------------------------------- files

cdef void file_forget(View *view, LogFile *file) noexcept nogil:
    cdef uint64_t i
    read_cache_forget(&view.log, file)
    for i in range(view.log.topics.count):
        places_drop(view.log.topics.by_number[i], file)


cdef int group_enter(View *view, LogFile *file, const GroupHeader *group, uint64_t position) noexcept nogil:
    cdef Topic *topic = topic_by_id(&view.log.topics, group.topic_id)
    cdef GroupHeader entered = group[0]
    cdef uint64_t end = group.first + group.count
    if topic == NULL or group.count == 0:
        return 0
    if topic_epoch_limit(topic, group.epoch) < end:
        end = topic_epoch_limit(topic, group.epoch)
    if end <= group.first:
        return 0
    entered.position += position
    entered.name_bytes = 0
    return place_insert(topic, &entered, end, file)


cdef int file_walk(View *view, LogFile *file, Window *window) noexcept nogil:
    """On from where it ended: the headers of extents that are in place by now."""
    cdef const uint8_t *at
    cdef uint32_t i
    cdef int code = 0, checked
    window_begin(window, &view.log.device, &file.file)
    while file.end + BLOCK_BYTES <= file.file.size:
        at = window_at(window, file.end, BLOCK_BYTES, HEADERS_AHEAD, &code)
        if at == NULL:
            return code
        checked = extent_check(at, BLOCK_BYTES, file.file.size - file.end, view.log.catalog.log_id, file.number, file.end,
                               EXTENT_KIND_LOG)
        if checked == 2:
            at = window_at(window, file.end, ((<const ExtentHeader *>at).header_bytes + BLOCK_BYTES - 1)
                           & ~<uint64_t>(BLOCK_BYTES - 1), HEADERS_AHEAD, &code)
            if at == NULL:
                return code
            checked = extent_check(at, (<const ExtentHeader *>at).header_bytes, file.file.size - file.end,
                                   view.log.catalog.log_id, file.number, file.end, EXTENT_KIND_LOG)
        if checked != 1:
            return 0
        for i in range((<const ExtentHeader *>at).groups):
            if group_enter(view, file, extent_group(at, i), file.end) < 0:
                return -ENOMEM
        file.end += (<const ExtentHeader *>at).size
    return 0


cdef int file_look(View *view, LogFile *file, Window *window) noexcept nogil:
    """Opens it, or notices that it is used anew."""
    cdef char name[64]
    cdef void *block = NULL
    cdef LogFileHead head
    cdef int result = 0, valid
    cdef int64_t size
    if file.file.fd < 0:
        logfile_name(name, file.name)
        result = file_open(&view.log.device, &file.file, name, FILE_READ_ONLY)
        if result < 0:
            file.file.fd = -1
            return 0 if result == -ENOENT else result
    size = walrus_file_size(file.file.fd)           # it may have been opened before its writer had allocated it
    if size < 0:
        return <int>size
    file.file.size = <uint64_t>size
    if posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES):
        return -ENOMEM
    if device_read(&view.log.device, &file.file, block, BLOCK_BYTES, 0) == BLOCK_BYTES:
        valid = logfile_head_read(<const uint8_t *>block, view.log.catalog.log_id, &head)
        if valid == 1 and head.number != file.number:
            file_forget(view, file)
            file.number = head.number
            file.end = BLOCK_BYTES
        elif valid != 1 and file.number:
            file_forget(view, file)
            file.number = 0
    free(block)
    return file_walk(view, file, window) if file.number else 0


cdef int files_learn(View *view) noexcept nogil:
    cdef Survey survey
    cdef Window window
    cdef LogFile *file
    cdef LogFile *following
    cdef uint64_t i = 0
    cdef int result
    memset(&survey, 0, sizeof(survey))
    memset(&window, 0, sizeof(window))
    result = survey_directory(&view.log, &survey)
    file = view.log.files.first
    while file != NULL and result == 0:             # both lists are sorted by name
        following = file.next
        while i < survey.count and survey.names[i] < file.name:
            i += 1
        if i == survey.count or survey.names[i] != file.name:
            file_forget(view, file)
            logfile_drop(&view.log.files, &view.log.device, file)
        file = following
    for i in range(survey.count):
        if result:
            break
        file = view.log.files.first
        while file != NULL and file.name != survey.names[i]:
            file = file.next
        if file == NULL:
            file = logfile_new(&view.log.files, survey.names[i])
        result = file_look(view, file, &window) if file != NULL else LOG_NO_MEMORY
    window_free(&window)
    survey_free(&survey)
    return result


cdef int view_refresh(View *view) noexcept nogil:
    cdef int result = view_topics(view)
    if result == 0:
        chunks_learn(view)
        result = files_learn(view)
    return result


# --------------------------------------------------------------------------------------------------------------- reading

cdef int view_take(View *view, Topic *topic, Reader *reader, uint64_t first, uint64_t max_bytes, uint32_t max_entries,
                   bint uncommitted, Taken *taken) noexcept nogil:
    cdef int result = 0, tries
    cdef uint32_t never = 0
    cdef uint64_t end
    for tries in range(TRIES_MAX):
        view_poll(view, topic)
        end = view_end(view, topic, uncommitted)
        if first < topic.low:
            return LOG_OUT_OF_RANGE
        result = take(reader, first, end, max_bytes, max_entries, False, taken)
        if result == LOG_END or (result == 0 and chunks_same(topic, first, taken.offsets[taken.count - 1] + 1)):
            return result
        taken.count = 0                             # torn by reuse, or not found where it was: look anew
        reader_seek(reader, topic.low)
        reader_rest(reader)
        if view_stale(view):                        # another writer has taken over: the caller maps anew
            return LOG_UNSETTLED
        if tries:
            walrus_futex_wait(&never, 0, RETRY_NS << tries, 0)
        if view_refresh(view) < 0:
            break
    return LOG_UNSETTLED if result == 0 else result


# --------------------------------------------------------------------------------------------------------------- cursors

cdef ControlCursor *view_cursor(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    return control_cursor_named(&view.log.control, topic.id, CURSOR_NAMED, name, name_bytes)


cdef int owned_slot(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes,
                    ControlCursor **slot) noexcept nogil:
    cdef int code = 0
    slot[0] = view_cursor(view, topic, name, name_bytes)
    if slot[0] == NULL:
        view.log.control.cursors_allocated = 0      # how far there are blocks is not known: others make slots too
        view.log.control.names_allocated = 0
        slot[0] = control_cursor(&view.log.control, 0, topic.id, CURSOR_NAMED, name, name_bytes, &code)
    return control_own(&view.log.control, slot[0]) if code == 0 else code


cdef int view_cursor_commit(View *view, Topic *topic, const uint8_t *name, uint32_t name_bytes, uint64_t value,
                            uint32_t *owner) noexcept nogil:
    cdef ControlHead *head = view.log.control.head
    cdef ControlCursor *slot = NULL
    cdef int code
    if not view.writable:
        return -EROFS
    code = owned_slot(view, topic, name, name_bytes, &slot)
    if code == -EAGAIN:
        owner[0] = walrus_load32(&slot.owner_pid)
    if code == 0:
        code = control_storing(&view.log.control, slot)
    if code:
        return code
    # Under that lock: a truncation sets cursors back under it, when it has stored the new end.
    if value > walrus_load64(&(<ControlTopic *>topic.control).end):
        code = LOG_OUT_OF_RANGE
    else:
        control_store(slot, walrus_add64(&head.stamp, 1), value)
    control_stored(&view.log.control, slot)
    if code == 0:
        walrus_add32(&head.foreign_commits, 1)
    return code


# ------------------------------------------------------------------------------------------------------------- sleeping

cdef bint view_sleep_begin(View *view, Topic *topic, uint64_t position, bint uncommitted, uint32_t **word,
                           uint32_t *seen) noexcept nogil:
    cdef ControlHead *head = view.log.control.head
    word[0] = &head.wake_word
    seen[0] = walrus_load32(&head.wake_word)
    if view.writable:
        # Whoever wakes takes the mark away, so a sleeper that was killed costs one call. What is published from here on
        # raises the word, but for a store that a processor had not let out yet: that is seen when the slice is over.
        walrus_exchange32(&head.sleepers, 1)
    return topic == NULL or view_end(view, topic, uncommitted) <= position
