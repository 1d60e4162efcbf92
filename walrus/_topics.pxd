"""Topics in memory: their offsets, chunks, places on disk, cursors; the table of all of them by id and by name.

Layer: places. topic.lock guards everything of a topic but `end` and `durable`, which are read without it.
Order of locks: catalog.lock < topic.lock < staging.lock, queue lock.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._snapshot_format cimport DamagedRange, EpochEntry
from walrus._staging cimport Chunk
from walrus._logfiles cimport LogFile

ctypedef struct Place:              # frames of one topic in a file: a group, with `position` from the file's beginning
    GroupHeader group
    uint64_t end                    # offset behind the last frame that counts (less than first + count where cut)
    LogFile *file

ctypedef struct Topic
ctypedef struct Cursor
cdef enum:
    CURSOR_NAMED = 0
    CURSOR_SHARED = 1

ctypedef struct Cursor:
    uint64_t id
    Topic *topic
    uint8_t *name
    uint32_t name_bytes
    uint32_t kind
    uint32_t lock
    uint64_t position               # next offset to hand out
    uint64_t committed              # persisted value
    uint64_t stamp
    uint64_t highest                # highest value committed since it was entered
    uint64_t taken                  # entries handed out since the last commit (AtLeastOnce)
    uint32_t control_slot
    uint8_t *control                # its ControlCursor in the control file, or NULL
    uint64_t slot_stamp             # of the value last seen or stored there
    bint owned                      # this process holds the slot's lock: only it stores
    uint64_t pending_at             # its change in catalog.pending, while pending_generation is the catalog's
    uint64_t pending_generation
    bint damaged                    # its slot did not validate: using it raises until seek
    bint durable_once               # it exists on disk (a committed value was made)
    Cursor *next                    # of the same topic

ctypedef struct Topic:
    uint64_t id
    uint8_t *name
    uint32_t name_bytes
    uint32_t seed                   # frame_seed(log id, id)
    uint32_t lock
    uint64_t end                    # next offset; release-stored when a frame is published
    uint64_t durable
    uint64_t low
    uint64_t low_durable
    uint64_t appended               # entries since the log was opened
    uint64_t syncing_end            # what the running sync covers
    Chunk *oldest                   # staged chunks, oldest first
    Chunk *current                  # the open one, the last of them; or NULL
    Place *places                   # sorted by first offset (pieces of a frame in their order)
    uint64_t places_from            # those before are dead
    uint64_t places_count
    uint64_t places_room
    EpochEntry *epochs              # newest last
    uint32_t epoch_count
    DamagedRange *ranges
    uint32_t range_count
    bint suspect                    # opening: something promised is missing so far
    bint refuses                    # damaged, not repaired: takes no appends
    bint dirty                      # in log.dirty_topics
    bint busy                       # a large frame is being written: appends wait
    uint32_t busy_waiters
    uint32_t busy_word              # futex
    Topic *dirty_next
    int chunk_class                 # of the next chunk
    uint64_t chunk_time_ns          # when the current chunk was taken (rate)
    uint64_t payload_bytes          # appended, from the oldest entry kept to the end
    uint8_t clean                   # marked clean, when its end was clean_end: what lies beyond makes it dirty again
    uint64_t clean_end
    uint8_t retention               # 0 none, 1 consumed, 2 bytes
    uint64_t retention_bytes
    uint32_t control_slot
    uint8_t *control                # its ControlTopic in the control file, or NULL
    Cursor *cursors                 # list; entered under topic.lock
    uint32_t waiters                # threads of this process asleep on wake_word for a new entry
    uint32_t wake_word              # futex: raised when an entry is published while waiters > 0

ctypedef struct TopicTable:
    uint32_t lock
    Topic **by_number               # in the order of making
    uint64_t count
    uint64_t room
    Topic **id_slots                # open addressing
    Topic **name_slots
    uint64_t slots

cdef int topics_open(TopicTable *table) noexcept nogil
cdef void topics_close(TopicTable *table) noexcept nogil
# Under table.lock inside. NULL: none.
cdef Topic *topic_by_id(TopicTable *table, uint64_t id) noexcept nogil
cdef Topic *topic_by_name(TopicTable *table, const uint8_t *name, uint32_t name_bytes) noexcept nogil
# One after another, in the order of making, from at[0] = 0 on; NULL: no more. The table may grow meanwhile.
cdef Topic *topic_next(TopicTable *table, uint64_t *at) noexcept nogil
# Enters a new topic (no catalog change: that is the catalog's). NULL: out of memory.
cdef Topic *topic_enter(TopicTable *table, const uint8_t *log_id, uint64_t id, const uint8_t *name,
                        uint32_t name_bytes) noexcept nogil
# Places; caller holds topic.lock (or is alone). 0, or -ENOMEM.
cdef int place_insert(Topic *topic, const GroupHeader *group, uint64_t end, LogFile *file) noexcept nogil
# Takes out the places of pieces of that stamp: their frame was abandoned.
cdef void places_forget_stamp(Topic *topic, uint64_t stamp) noexcept nogil
# Takes out the places in that file; the file's counts are the caller's.
cdef void places_drop(Topic *topic, const LogFile *file) noexcept nogil
# Index of the place that holds `offset` (of its first piece), or places_count.
cdef uint64_t place_find(Topic *topic, uint64_t offset) noexcept nogil
# renew() of the model: enters (epoch, start), dropping what it makes void. 0, or -ENOMEM.
cdef int topic_renew(Topic *topic, uint64_t epoch, uint64_t start) noexcept nogil
# epoch_list: behind which offset frames of `epoch` are dead; 2^64 - 1 if nowhere.
cdef uint64_t topic_epoch_limit(const Topic *topic, uint64_t epoch) noexcept nogil
