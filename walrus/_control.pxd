"""Control file: what other processes see of topics, and the slot pairs that keep cursors over SIGKILL.

Layer: places. Byte tables at the head of _control.pyx. Sparse: fixed places in a mapping of reserved address space; blocks are
allocated as slots come into use, so a full disk is an error here, never a SIGBUS.
"""
from walrus._libc cimport uint8_t, uint16_t, uint32_t, uint64_t
from walrus._device cimport Device, DeviceFile

cdef enum:
    CONTROL_MAGIC = 0x54435257      # "WRCT"
    CONTROL_VERSION = 1
    CONTROL_TOPICS_MAX = 1048576
    CONTROL_CURSORS_MAX = 1048576
    CONTROL_CLOSED = 2              # ControlHead.state after a clean close
    FOREIGN_ID = 0x80000000         # in a cursor's id: given by a process that reads; the bits below are the slot's number

ctypedef struct ControlHead:        # first 4 KiB
    uint32_t crc                    # of bytes 4 .. 96, the constant part
    uint32_t magic
    uint32_t version
    uint32_t writer_pid
    uint8_t log_id[16]
    uint8_t boot_id[16]
    uint64_t epoch                  # of the writer that has it open
    uint32_t schedule               # SCHEDULE_EACH: readers stop at the durable offset
    uint32_t reserved[9]
    uint64_t stamp                  # counter of stamps (shared with processes that commit cursors)
    uint32_t state                  # 1 open, 2 closed cleanly
    uint32_t wake_word              # futex: raised by appends and syncs while somebody sleeps
    uint32_t sleepers               # not 0: somebody is about to sleep on it, or sleeps; whoever wakes them clears it
    uint32_t topics
    uint32_t cursors
    uint32_t names_used             # of the heap of names
    uint32_t foreign_commits        # raised by a reader process when it has stored a cursor's value
    uint32_t opening                # not 0: a writer is opening the log; slots of topics mean nothing

ctypedef struct ControlTopic:       # 64 bytes
    uint64_t id
    uint64_t end                    # committed: release-stored at each append
    uint64_t durable
    uint64_t low
    uint32_t current                # 1 + slot of the newest chunk; 0 none
    uint32_t current_generation
    uint32_t name_position          # in the heap
    uint16_t name_bytes
    uint16_t state                  # 1 in use
    uint64_t places                 # raised when an extent of it has completed: readers look at the disk again
    uint64_t payload_bytes          # from low to end

ctypedef struct ControlValue:       # 32 bytes: one of a pair
    uint32_t begin                  # number of the store, raised first; end follows: a store cut short is no damage
    uint32_t crc
    uint64_t stamp
    uint64_t value
    uint32_t end
    uint32_t reserved

ctypedef struct ControlCursor:      # 128 bytes
    uint64_t id
    uint64_t topic_id
    uint32_t name_position
    uint16_t name_bytes
    uint8_t kind
    uint8_t state                   # 1 in use
    uint32_t crc                    # of the above, and of the name
    uint32_t owner_pid              # of who owned it last; the lock on these bytes says whether it does now
    uint64_t reserved[4]
    ControlValue pair[2]

ctypedef struct Control:
    DeviceFile file
    uint8_t *memory
    ControlHead *head
    ControlTopic *topics
    ControlCursor *cursors
    uint8_t *names
    Device *device
    uint64_t topics_allocated       # slots that have blocks
    uint64_t cursors_allocated
    uint64_t names_allocated
    uint64_t *known_ids             # of cursors' slots that were adopted, sorted; with the slots beside them
    uint32_t *known_slots
    uint64_t known
    bint trusted                    # adopted from this boot, or after a clean close: damage is damage
    bint same_boot                  # adopted from this boot: every commit went through its slot
    uint32_t own_cursors            # slots of cursors below it are known here: none need be looked at by name
    uint32_t lock                   # guards making of slots

# Opens or makes it. `kept`: 1 when slots of an earlier open were adopted (same log id, head valid), 0 fresh. 0, -errno,
# or the version of a file that is of a newer one.
cdef int control_open(Control *control, Device *device, const uint8_t *log_id, const uint8_t *boot_id, bint fresh,
                      bint *kept) noexcept nogil
# After the snapshot of the new epoch is flushed: slots of topics are given anew, stamps go on from `stamp`.
cdef void control_begin(Control *control, const uint8_t *boot_id, uint64_t epoch, uint64_t stamp,
                        uint32_t schedule) noexcept nogil
# When topics have their slots: readers may look.
cdef void control_ready(Control *control) noexcept nogil
cdef void control_close(Control *control, bint clean) noexcept nogil
# In a fork's child: it keeps none of its parent's cursors.
cdef void control_forked(Control *control) noexcept nogil
# A slot for a topic, made; for a cursor, found by id among adopted ones, by name among those that other processes made
# (it has their id), or made with this id (0: with one that no writer gives). NULL: -errno in *code.
cdef ControlTopic *control_topic(Control *control, uint64_t id, const uint8_t *name, uint32_t name_bytes,
                                 int *code) noexcept nogil
cdef ControlCursor *control_cursor(Control *control, uint64_t id, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                                   uint32_t name_bytes, int *code) noexcept nogil
cdef ControlCursor *control_cursor_known(Control *control, uint64_t id) noexcept nogil
cdef ControlCursor *control_cursor_named(Control *control, uint64_t topic_id, uint32_t kind, const uint8_t *name,
                                         uint32_t name_bytes) noexcept nogil
# One process at a time owns a cursor, until it closes the file or dies: 0, -EAGAIN (another does), -errno.
cdef int control_own(Control *control, ControlCursor *slot) noexcept nogil
# Around a store by who is not the writer, and by the writer where it is not the owner. 0 or -errno.
cdef int control_storing(Control *control, const ControlCursor *slot) noexcept nogil
cdef void control_stored(Control *control, const ControlCursor *slot) noexcept nogil
cdef uint32_t control_head_crc(const ControlHead *head) noexcept nogil
# Slots whose own checksum is wrong: are there any? Nobody knows whose they were. And to free slots of them: the writer, when
# it has seen which of its cursors have none.
cdef bint control_cursors_broken(Control *control) noexcept nogil
cdef void control_cursors_clear(Control *control) noexcept nogil
cdef uint32_t control_cursor_crc(const Control *control, const ControlCursor *slot) noexcept nogil
# The pair: a store leaves the older value whole (slot_pair), and heals what was damaged.
cdef void control_store(ControlCursor *slot, uint64_t stamp, uint64_t value) noexcept nogil
# Says of a cursor whose value is lost that it is damaged, until the next store.
cdef void control_damage(ControlCursor *slot) noexcept nogil
# 1: newest valid value given; 0: never stored; -1: damaged. Right also while its owner stores.
cdef int control_load(const ControlCursor *slot, uint64_t *stamp, uint64_t *value) noexcept nogil
# Wakes sleepers of other processes: one futex call, and none while nobody sleeps.
cdef void control_wake(Control *control) noexcept nogil
