"""Control file: what other processes see of topics, and the slot pairs that keep cursors over SIGKILL.

Byte table (little endian; sparse, blocks are allocated before a slot in them is used):

  position       bytes                what
  0              4096                 ControlHead; crc is CRC32C of its bytes 4 .. 96 (the constant part)
  1 MiB          64 x topics          ControlTopic, as many as head.topics; given anew at every open
  128 MiB        128 x cursors        ControlCursor, as many as head.cursors; they stay from open to open
  256 MiB        names_used           heap of names: of topics and cursors, back to back

Of a pair of ControlValues, one is
  valid        if its begin or end is not 0, and crc is CRC32C of stamp and value continued from the slot's crc;
  cut short    if it is not valid, and begin is the number after end (after 2^32 - 1 comes 1): a store was interrupted there;
  none         if begin and end are 0;
  damaged      if it is nothing of these.
Where one is damaged the cursor is, whatever the other says; else the valid one with the higher stamp counts. A store
goes into the one that is not the newest: begin becomes the number after end, then stamp, value and crc are stored, then
end becomes begin. So SIGKILL at any instruction leaves the other one as it was (slot_pair), and a bit that flips in
begin or end makes no older value count. Where one of the pair is damaged, the store goes into the other, and then the
damaged one becomes none: until the new value is whole the damage stays.

A reader of a pair believes two copies that are alike: while its owner stores, it looks again.

Ownership. A slot's value is stored by the process that holds the lock (OFD) on the slot's bytes, its owner; the writer
alone may store without owning it, where it opens the log or truncates a topic. So a process that is not the writer
holds the slot's store lock (the byte at 1.25 GiB + its number, behind the end of the file) while it stores, and so does
the writer where it is not the owner. Slots are made, and names put into the heap, under the lock on the file's first
byte. The kernel frees all of these when their holder dies.

Threads: slots are made under control.lock; a slot's value is stored under catalog.lock. Any process may read. No GIL.
"""
from walrus._checksum cimport crc32c
from walrus._device cimport (FILE_BUFFERED, FILE_CREATE, device_map, device_rename, device_sync_directory, file_close,
                             file_open)
from walrus._libc cimport (EACCES, EAGAIN, EINTR, ENOENT, ENOMEM, ENOSPC, FALLOC_FL_KEEP_SIZE, WALRUS_DEBUG, close,
                           errno, fallocate, free, ftruncate, getpid, int64_t, malloc, memcmp, memcpy, memset, munmap,
                           pread, walrus_add32, walrus_exchange32, walrus_fence, walrus_futex_wake, walrus_load32,
                           walrus_lock, walrus_pause, walrus_record_lock, walrus_record_unlock, walrus_store32,
                           walrus_store64, walrus_unlock)
from walrus._rules cimport RULE_SLOT_PAIR, rule_broken
from libc.stdlib cimport qsort

cdef enum:
    HEAD_BYTES = 4096
    TOPICS_AT = 1048576
    CURSORS_AT = 134217728
    NAMES_AT = 268435456
    CONTROL_BYTES = 1342177280
    STEP_BYTES = 65536              # blocks are allocated in steps of this
    NAME_BYTES_MAX = 1024
    LOOKS_MAX = 1000000             # at a pair while its owner stores

ctypedef struct Known:
    uint64_t id
    uint32_t slot


cdef uint32_t control_head_crc(const ControlHead *head) noexcept nogil:
    return crc32c(0, <const uint8_t *>head + 4, 92)


cdef uint32_t control_cursor_crc(const Control *control, const ControlCursor *slot) noexcept nogil:
    """Of id .. state and of the name, which is in another page: a power cut may leave one of the two."""
    cdef uint32_t crc = crc32c(0, slot, 24)
    if <uint64_t>slot.name_position + slot.name_bytes > CONTROL_BYTES - NAMES_AT:
        return ~slot.crc
    return crc32c(crc, control.names + slot.name_position, slot.name_bytes)


# ---------------------------------------------------------------------------------------------------------- blocks

cdef int blocks_for(Control *control, uint64_t begin, uint64_t bytes, uint64_t *allocated) noexcept nogil:
    """Real blocks for [begin, begin + bytes) of an area of which `allocated` bytes have some."""
    cdef uint64_t wanted = (bytes + STEP_BYTES - 1) & ~<uint64_t>(STEP_BYTES - 1)
    if wanted <= allocated[0]:
        return 0
    if fallocate(control.file.fd, FALLOC_FL_KEEP_SIZE, <int64_t>(begin + allocated[0]),
                 <int64_t>(wanted - allocated[0])) < 0:
        return -errno
    allocated[0] = wanted
    return 0


cdef int readable(Control *control, uint64_t begin, uint64_t bytes) noexcept nogil:
    """Reads what will be looked at: an I/O error is an errno here, not a SIGBUS later."""
    cdef uint8_t *buffer = <uint8_t *>malloc(STEP_BYTES)
    cdef uint64_t at = 0
    cdef int result = 0
    if buffer == NULL:
        return -ENOMEM
    while at < bytes and result == 0:
        if pread(control.file.fd, buffer, STEP_BYTES, <int64_t>(begin + at)) < 0:
            result = -errno
        at += STEP_BYTES
    free(buffer)
    return result


# --------------------------------------------------------------------------------------------------------- opening

cdef int head_check(Control *control, const uint8_t *log_id, ControlHead *head) noexcept nogil:
    """0: not one to adopt; CONTROL_VERSION: one to adopt; above: of that newer version; -errno."""
    cdef ssize_t got = pread(control.file.fd, head, sizeof(ControlHead), 0)
    if got < 0:
        return -errno
    if (got < <ssize_t>sizeof(ControlHead) or head.magic != CONTROL_MAGIC or head.version < CONTROL_VERSION
            or head.crc != control_head_crc(head)):
        return 0
    if head.version > CONTROL_VERSION:
        return <int>(head.version & <uint32_t>0x7FFFFFFF)
    return (memcmp(head.log_id, log_id, 16) == 0 and head.cursors <= CONTROL_CURSORS_MAX
            and head.names_used <= CONTROL_BYTES - NAMES_AT)


cdef int map_file(Control *control, Device *device) noexcept nogil:
    cdef int result = 0
    if ftruncate(control.file.fd, CONTROL_BYTES) < 0:
        return -errno
    control.file.size = CONTROL_BYTES
    result = device_map(device, &control.file, HEAD_BYTES, CONTROL_BYTES, False, &control.memory)
    if result < 0:
        return result
    control.head = <ControlHead *>control.memory
    control.topics = <ControlTopic *>(control.memory + TOPICS_AT)
    control.cursors = <ControlCursor *>(control.memory + CURSORS_AT)
    control.names = control.memory + NAMES_AT
    return 0


cdef int make_new(Control *control, Device *device, const uint8_t *log_id, const uint8_t *boot_id) noexcept nogil:
    """Under a temporary name, renamed when it is whole: processes that have the old one mapped keep it."""
    cdef uint64_t allocated = 0
    cdef int result
    file_close(device, &control.file)
    result = file_open(device, &control.file, b"control.new", FILE_CREATE | FILE_BUFFERED)
    if result < 0:
        return result
    if ftruncate(control.file.fd, 0) < 0:
        return -errno
    result = blocks_for(control, 0, HEAD_BYTES, &allocated)
    if result == 0:
        result = map_file(control, device)
    if result < 0:
        return result
    memset(control.head, 0, sizeof(ControlHead))
    control.head.opening = 1
    control.head.magic = CONTROL_MAGIC
    control.head.version = CONTROL_VERSION
    memcpy(control.head.log_id, log_id, 16)
    memcpy(control.head.boot_id, boot_id, 16)
    control.head.crc = control_head_crc(control.head)
    result = device_rename(device, b"control.new", b"control")
    return device_sync_directory(device) if result >= 0 else result


cdef int by_id(const void *a, const void *b) noexcept nogil:
    cdef uint64_t left = (<Known *>a).id, right = (<Known *>b).id
    return -1 if left < right else (1 if left > right else 0)


cdef int learn_cursors(Control *control) noexcept nogil:
    """Sorts the slots by id, so that each is found again."""
    cdef uint64_t i, count = control.head.cursors
    cdef Known *known = <Known *>malloc((count + 1) * sizeof(Known))
    control.known_ids = <uint64_t *>malloc((count + 1) * sizeof(uint64_t))
    control.known_slots = <uint32_t *>malloc((count + 1) * sizeof(uint32_t))
    if known == NULL or control.known_ids == NULL or control.known_slots == NULL:
        free(known)
        return -ENOMEM
    control.known = 0
    for i in range(count):
        if control.cursors[i].state == 1 and control.cursors[i].crc == control_cursor_crc(control, control.cursors + i):
            known[control.known].id = control.cursors[i].id
            known[control.known].slot = <uint32_t>i
            control.known += 1
    qsort(known, control.known, sizeof(Known), by_id)
    for i in range(control.known):
        control.known_ids[i] = known[i].id
        control.known_slots[i] = known[i].slot
    free(known)
    return 0


cdef int adopt(Control *control, Device *device, const ControlHead *head, const uint8_t *boot_id) noexcept nogil:
    cdef int result = readable(control, CURSORS_AT, <uint64_t>head.cursors * sizeof(ControlCursor))
    if result == 0:
        result = readable(control, NAMES_AT, head.names_used)
    if result == 0:
        result = blocks_for(control, CURSORS_AT, <uint64_t>head.cursors * sizeof(ControlCursor), &control.cursors_allocated)
    if result == 0:
        result = blocks_for(control, NAMES_AT, head.names_used, &control.names_allocated)
    if result == 0:
        result = map_file(control, device)
    if result == 0:
        walrus_store32(&control.head.opening, 1)
        control.same_boot = memcmp(head.boot_id, boot_id, 16) == 0
        control.trusted = control.same_boot or head.state == CONTROL_CLOSED
        result = learn_cursors(control)
    return result


cdef int control_open(Control *control, Device *device, const uint8_t *log_id, const uint8_t *boot_id, bint fresh,
                      bint *kept) noexcept nogil:
    cdef ControlHead head
    cdef int result = file_open(device, &control.file, b"control", FILE_BUFFERED)
    kept[0] = False
    control.device = device
    if result < 0 and result != -ENOENT:
        return result
    if result == 0 and not fresh:
        result = head_check(control, log_id, &head)
        if result < 0 or result > CONTROL_VERSION:
            return result
        if result == CONTROL_VERSION:
            kept[0] = True
            return adopt(control, device, &head, boot_id)
    return make_new(control, device, log_id, boot_id)


cdef void control_begin(Control *control, const uint8_t *boot_id, uint64_t epoch, uint64_t stamp,
                        uint32_t schedule) noexcept nogil:
    cdef ControlHead *head = control.head
    walrus_store32(&head.state, 0)
    head.topics = 0
    memcpy(head.boot_id, boot_id, 16)
    head.epoch = epoch
    head.schedule = schedule
    head.writer_pid = <uint32_t>getpid()
    head.crc = control_head_crc(head)
    walrus_store64(&head.stamp, stamp)
    walrus_store32(&head.state, 1)


cdef void control_ready(Control *control) noexcept nogil:
    walrus_store32(&control.head.opening, 0)
    control_wake(control)


cdef void control_close(Control *control, bint clean) noexcept nogil:
    if control.memory != NULL:
        if clean:
            walrus_store32(&control.head.state, CONTROL_CLOSED)
        control_wake(control)
        munmap(control.memory, CONTROL_BYTES)
        control.memory = NULL
        control.head = NULL
    if control.device != NULL and control.file.fd >= 0:
        file_close(control.device, &control.file)
    free(control.known_ids)
    free(control.known_slots)
    control.known_ids = NULL
    control.known_slots = NULL
    control.known = 0


cdef void control_forked(Control *control) noexcept nogil:
    # The locks belong to the open file, which lives as long as any process has it open or mapped.
    if control.memory != NULL:
        munmap(control.memory, CONTROL_BYTES)
    if control.file.fd >= 0:
        close(control.file.fd)
    control.memory = NULL
    control.head = NULL
    control.file.fd = -1


# ------------------------------------------------------------------------------------------------------------ locks

cdef int held(Control *control, int64_t position, int64_t bytes, bint wait) noexcept nogil:
    cdef int result = -EINTR
    while result == -EINTR:
        result = walrus_record_lock(control.file.fd, position, bytes, wait)
    return -EAGAIN if result == -EACCES else result


cdef int making_begin(Control *control) noexcept nogil:
    """Slots of cursors and names are made by one process at a time. 0 or -errno."""
    return held(control, 0, 1, True)


cdef void making_end(Control *control) noexcept nogil:
    walrus_record_unlock(control.file.fd, 0, 1)


cdef int control_own(Control *control, ControlCursor *slot) noexcept nogil:
    # All of the slot's bytes: the kernel merges the locks of neighbours into one.
    cdef int64_t position = CURSORS_AT + (slot - control.cursors) * <int64_t>sizeof(ControlCursor)
    cdef int result = held(control, position, sizeof(ControlCursor), False)
    if result == 0:
        walrus_store32(&slot.owner_pid, <uint32_t>getpid())
    return result


cdef int control_storing(Control *control, const ControlCursor *slot) noexcept nogil:
    return held(control, CONTROL_BYTES + (slot - control.cursors), 1, True)


cdef void control_stored(Control *control, const ControlCursor *slot) noexcept nogil:
    walrus_record_unlock(control.file.fd, CONTROL_BYTES + (slot - control.cursors), 1)


# ------------------------------------------------------------------------------------------------------------ slots

cdef int name_put(Control *control, const uint8_t *name, uint32_t name_bytes, uint32_t *position) noexcept nogil:
    cdef uint64_t used = control.head.names_used
    cdef int result
    if used + name_bytes > CONTROL_BYTES - NAMES_AT:
        return -ENOSPC
    result = blocks_for(control, NAMES_AT, used + name_bytes, &control.names_allocated)
    if result < 0:
        return result
    memcpy(control.names + used, name, name_bytes)
    position[0] = <uint32_t>used
    walrus_store32(&control.head.names_used, <uint32_t>(used + name_bytes))
    return 0


cdef int topic_fill(Control *control, uint32_t number, uint64_t id, const uint8_t *name, uint32_t name_bytes) noexcept nogil:
    cdef ControlTopic *slot = control.topics + number
    cdef uint32_t position = 0
    cdef int result
    if number >= CONTROL_TOPICS_MAX:
        return -ENOSPC
    result = blocks_for(control, TOPICS_AT, <uint64_t>(number + 1) * sizeof(ControlTopic), &control.topics_allocated)
    if result < 0:
        return result
    # A slot of an earlier open that speaks of the same topic keeps its name: the heap does not grow from open to open.
    if not (slot.id == id and slot.name_bytes == name_bytes and slot.name_position + name_bytes <= control.head.names_used
            and memcmp(control.names + slot.name_position, name, name_bytes) == 0):
        result = making_begin(control)
        if result == 0:
            result = name_put(control, name, name_bytes, &position)
            making_end(control)
        if result < 0:
            return result
    else:
        position = slot.name_position
    memset(slot, 0, sizeof(ControlTopic))
    slot.id = id
    slot.name_position = position
    slot.name_bytes = <uint16_t>name_bytes
    slot.state = 1
    return 0


cdef ControlTopic *control_topic(Control *control, uint64_t id, const uint8_t *name, uint32_t name_bytes,
                                 int *code) noexcept nogil:
    cdef ControlTopic *slot = NULL
    cdef uint32_t number
    walrus_lock(&control.lock)
    number = control.head.topics
    code[0] = topic_fill(control, number, id, name, name_bytes)
    if code[0] == 0:
        slot = control.topics + number
        walrus_store32(&control.head.topics, number + 1)
    walrus_unlock(&control.lock)
    return slot


cdef ControlCursor *control_cursor_known(Control *control, uint64_t id) noexcept nogil:
    cdef uint64_t low = 0, high = control.known, middle
    while low < high:
        middle = (low + high) // 2
        if control.known_ids[middle] < id:
            low = middle + 1
        else:
            high = middle
    if low < control.known and control.known_ids[low] == id:
        return control.cursors + control.known_slots[low]
    return NULL


cdef inline uint32_t cursors_count(Control *control) noexcept nogil:
    """The number has no checksum: what lies behind the area is never looked at."""
    cdef uint32_t count = walrus_load32(&control.head.cursors)
    return count if count < CONTROL_CURSORS_MAX else <uint32_t>CONTROL_CURSORS_MAX


cdef int cursor_fill(Control *control, uint32_t number, uint64_t id, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                     uint32_t name_bytes) noexcept nogil:
    cdef ControlCursor *slot = control.cursors + number
    cdef uint32_t position = 0
    cdef int result
    if number >= CONTROL_CURSORS_MAX:
        return -ENOSPC
    result = blocks_for(control, CURSORS_AT, <uint64_t>(number + 1) * sizeof(ControlCursor), &control.cursors_allocated)
    if result == 0:
        result = name_put(control, name, name_bytes, &position)
    if result < 0:
        return result
    memset(slot, 0, sizeof(ControlCursor))
    slot.id = id
    slot.topic_id = topic_id
    slot.name_position = position
    slot.name_bytes = <uint16_t>name_bytes
    slot.kind = <uint8_t>kind
    slot.state = 1
    slot.crc = control_cursor_crc(control, slot)
    return 0


cdef ControlCursor *control_cursor_named(Control *control, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                                         uint32_t name_bytes) noexcept nogil:
    cdef ControlCursor *slot
    cdef uint32_t i
    for i in range(cursors_count(control)):
        slot = control.cursors + i
        if (slot.topic_id == topic_id and slot.state == 1 and slot.kind == kind and slot.name_bytes == name_bytes
                and <uint64_t>slot.name_position + name_bytes <= walrus_load32(&control.head.names_used)
                and memcmp(control.names + slot.name_position, name, name_bytes) == 0
                and slot.crc == control_cursor_crc(control, slot)):
            return slot
    return NULL


cdef int cursor_make(Control *control, uint64_t id, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                     uint32_t name_bytes, ControlCursor **made) noexcept nogil:
    """Other processes make slots too, perhaps this one: looked for, numbered and made under one lock. 0 or -errno."""
    cdef uint32_t number
    cdef int result = making_begin(control)
    if result < 0:
        return result
    number = walrus_load32(&control.head.cursors)
    if number != control.own_cursors:
        made[0] = control_cursor_named(control, topic_id, kind, name, name_bytes)
    if made[0] == NULL:
        if id == 0:
            id = (control.head.epoch << 32) | FOREIGN_ID | number
        result = cursor_fill(control, number, id, topic_id, kind, name, name_bytes)
        if result == 0:
            made[0] = control.cursors + number
            if number == control.own_cursors:
                control.own_cursors = number + 1
            walrus_fence()
            walrus_store32(&control.head.cursors, number + 1)
    making_end(control)
    return result


cdef ControlCursor *control_cursor(Control *control, uint64_t id, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                                   uint32_t name_bytes, int *code) noexcept nogil:
    cdef ControlCursor *slot = NULL
    code[0] = 0
    walrus_lock(&control.lock)
    if id:
        slot = control_cursor_known(control, id)
    if slot == NULL:
        code[0] = cursor_make(control, id, topic_id, kind, name, name_bytes, &slot)
    walrus_unlock(&control.lock)
    return slot


cdef inline bint broken(const Control *control, const ControlCursor *slot) noexcept nogil:
    return slot.crc != control_cursor_crc(control, slot)


cdef bint control_cursors_broken(Control *control) noexcept nogil:
    cdef uint32_t i
    for i in range(cursors_count(control)):
        if broken(control, control.cursors + i):
            return True
    return False


cdef void control_cursors_clear(Control *control) noexcept nogil:
    cdef uint32_t i
    for i in range(walrus_load32(&control.head.cursors)):
        if broken(control, control.cursors + i):
            memset(control.cursors + i, 0, sizeof(ControlCursor))
            control.cursors[i].crc = control_cursor_crc(control, control.cursors + i)


# ----------------------------------------------------------------------------------------------------------- values

cdef uint32_t value_crc(const ControlCursor *slot, const ControlValue *value) noexcept nogil:
    return crc32c(slot.crc, &value.stamp, 16)


cdef inline uint32_t after(uint32_t number) noexcept nogil:
    """Numbers of stores; 0 is none."""
    cdef uint32_t following = number + 1
    return following if following else <uint32_t>1


cdef int judged(const ControlCursor *slot, const ControlValue *value) noexcept nogil:
    """1: valid; 0: none, or a store that was cut short; -1: damaged."""
    if value.begin == 0 and value.end == 0:
        return 0
    # The checksum first: where it is right the store was whole, whatever the two numbers say.
    if value.crc == value_crc(slot, value):
        return 1
    return 0 if value.begin == after(value.end) else -1


cdef void pair_copy(const ControlCursor *slot, ControlValue *pair) noexcept nogil:
    """While its owner stores: two copies that are alike stood there at one time, for no stamp is given twice."""
    cdef ControlValue again[2]
    cdef int _
    for _ in range(LOOKS_MAX):
        memcpy(pair, &slot.pair[0], sizeof(again))
        walrus_fence()
        memcpy(&again[0], &slot.pair[0], sizeof(again))
        walrus_fence()
        if memcmp(pair, &again[0], sizeof(again)) == 0:
            return
        walrus_pause()


cdef void control_store(ControlCursor *slot, uint64_t stamp, uint64_t value) noexcept nogil:
    cdef ControlValue *target
    cdef int valid[2]
    cdef int i, into = 0
    for i in range(2):
        valid[i] = judged(slot, &slot.pair[i])
    if valid[0] < 0:
        into = 1
    elif valid[0] == 1 and valid[1] >= 0 and (valid[1] == 0 or slot.pair[0].stamp > slot.pair[1].stamp):
        into = 1
    if WALRUS_DEBUG and rule_broken(RULE_SLOT_PAIR):
        into = 0
    target = &slot.pair[into]
    walrus_store32(&target.begin, after(target.end))
    walrus_fence()
    target.stamp = stamp
    target.value = value
    target.crc = value_crc(slot, target)
    walrus_fence()
    walrus_store32(&target.end, target.begin)
    if valid[1 - into] < 0:
        walrus_fence()
        memset(&slot.pair[1 - into], 0, sizeof(ControlValue))


cdef void control_damage(ControlCursor *slot) noexcept nogil:
    cdef ControlValue *target = &slot.pair[0]
    target.begin = 1
    target.end = 1
    target.crc = ~value_crc(slot, target)


cdef int control_load(const ControlCursor *slot, uint64_t *stamp, uint64_t *value) noexcept nogil:
    cdef ControlValue pair[2]
    cdef int i, valid, found = 0
    pair_copy(slot, pair)
    for i in range(2):
        valid = judged(slot, &pair[i])
        if valid < 0:
            return -1
        if valid and (not found or pair[i].stamp > stamp[0]):
            found = 1
            stamp[0] = pair[i].stamp
            value[0] = pair[i].value
    return found


cdef void control_wake(Control *control) noexcept nogil:
    # Who sleeps says so anew each time: one that was killed costs one call, not one per append.
    if control.head != NULL and walrus_load32(&control.head.sleepers) and walrus_exchange32(&control.head.sleepers, 0):
        walrus_add32(&control.head.wake_word, 1)
        walrus_futex_wake(&control.head.wake_word, 0x7FFFFFFF, 1)
