"""The state of one open log, and the codes that its functions give.

Layer: the log. One Log per open directory, nothing global. Who may touch what stands beside the fields.
"""
from walrus._libc cimport pthread_t, uint8_t, uint32_t, uint64_t, int64_t
from walrus._staging cimport Chunk, Staging
from walrus._topics cimport Topic, TopicTable
from walrus._logfiles cimport LogFile, LogFiles
from walrus._journal cimport Journal
from walrus._catalog cimport Catalog
from walrus._control cimport Control
from walrus._device cimport Device

cdef enum:
    # results; 0 is success. Below -1000 so that errnos fit between.
    LOG_WOULD_BLOCK = -1001         # only with wait=False: call again without the GIL and with wait=True
    LOG_FULL = -1002                # no staging room and no disk space
    LOG_TIMEOUT = -1003
    LOG_POISONED = -1004            # a write or flush failed; log.failure says which
    LOG_CLOSED = -1005
    LOG_FORKED = -1006
    LOG_DAMAGED = -1007             # topic refuses appends until repair
    LOG_INTERRUPTED = -1008         # a wait slice ended: check signals, call again
    LOG_NO_MEMORY = -1009
    LOG_OUT_OF_RANGE = -1010
    LOG_CORRUPT = -1011             # reader: bytes at reader.offset do not validate
    LOG_END = -1012                 # reader: nothing more now
    LOG_TOO_LARGE = -1013
    LOG_TOO_NEW = -1014             # a file of a newer version; log.failure names it
    LOG_LOCKED = -1015
    LOG_FOREIGN = -1016             # files of another log, or of none
    LOG_UNSETTLED = -1017           # view: a writer is opening it, was killed while it did, or the machine went down

    SCHEDULE_NONE = 0
    SCHEDULE_EACH = 1
    SCHEDULE_MILLISECONDS = 2

    RECORD_BYTES_MAX = 4194304      # frames in one journal record
    RECORD_GROUPS_MAX = 8192
    FLIGHTS_MAX = 64                # extents in flight
    GATHER_BUFFERS = 4
    GATHER_BYTES = 1048576
    GATHER_CHUNKS = 1024            # chunks in one gathered extent
    TAIL_BYTES_MAX = 262144         # a larger tail is written as an extent, not into the journal
    STAGING_BYTES_DEFAULT = 67108864

ctypedef struct Failure:            # what poisoned the log; set once
    int code                        # errno
    uint32_t set
    uint32_t told                   # 1 once code, what and file are filled
    char what[64]                   # "write", "flush", ...
    char file[64]

ctypedef struct Flight:             # an extent on its way, in the order of positions
    LogFile *file
    uint64_t position
    uint64_t size
    uint32_t chunk_count
    int buffer                      # gather buffer, or -1: in place
    bint done
    uint32_t *chunks                # indices; of GATHER_CHUNKS room
    Chunk *single

ctypedef struct LogOptions:
    uint64_t staging_bytes
    uint64_t log_file_bytes         # 0: grow from LOG_FILE_BYTES_MIN to LOG_FILE_BYTES_MAX
    uint64_t journal_file_bytes
    uint64_t retention_bytes
    uint32_t retention              # of topics made from now on
    uint32_t schedule
    uint32_t schedule_ms
    uint32_t way                    # DEVICE_...
    uint32_t chunk_class_max        # small in tests, so that every roll happens often
    int64_t lock_timeout_ns

ctypedef struct LogStats:
    uint64_t extents
    uint64_t extent_bytes
    uint64_t gathered_extents
    uint64_t syncs
    uint64_t records
    uint64_t record_bytes
    uint64_t room_waits             # appenders that had to wait
    uint64_t room_wait_ns
    uint64_t evictions
    uint64_t snapshots
    uint64_t punched_bytes

ctypedef struct Recovery:           # what opening did
    uint32_t unclean
    uint32_t created
    uint64_t files_listed
    uint64_t files_scanned
    uint64_t extents_scanned
    uint64_t records_read
    uint64_t changes_applied
    uint64_t chunks_adopted
    uint64_t frames_cut             # groups that did not count any more
    uint64_t ranges_damaged
    uint64_t headers_damaged        # gaps in files behind which something says that they had been flushed
    uint64_t older_catalog          # the newest slot did not validate
    uint64_t duration_ns
    uint32_t staging_lost           # after an unclean stop of this boot there was no staging file of this log

ctypedef struct Log:
    LogOptions options
    Device device
    Catalog catalog
    TopicTable topics
    Staging staging
    LogFiles files
    Journal journal
    LogStats stats
    Recovery recovery
    Failure failure
    char path[4096]
    int directory
    int lock_fd
    bint device_opened
    bint enlisted
    bint clean                      # closed, and the catalog says so
    uint32_t closed                 # 1 closing, 2 closed
    uint32_t forked
    uint32_t users                  # calls under way that read from staging or files: closing waits for them
    void *next_open                 # list of open logs, for fork
    uint32_t full                   # no space for a log file now (a state, not poison)

    # the queue to the I/O thread
    uint32_t queue_lock
    uint64_t outstanding_bytes      # of sealed chunks
    Chunk *queue_first              # sealed, not yet taken: linked by queue_after from here on
    Chunk *outstanding_first        # sealed, not complete (the queue is its tail)
    Chunk *outstanding_last
    uint64_t sealed                 # sequence of the last sealed chunk
    uint32_t complete_word          # futex: raised when extents complete, a sync ends, state changes
    uint32_t complete_waiters

    # the I/O thread's own
    pthread_t thread
    uint32_t thread_started
    uint32_t thread_stop
    uint32_t thread_done
    Flight flights[64]
    uint32_t flight_first
    uint32_t flight_count
    uint8_t *gather[4]
    bint gather_taken[4]
    uint32_t *pending               # chunk indices waiting to be gathered
    uint32_t pending_count
    uint64_t pending_bytes
    uint32_t snapshot_wanted
    uint64_t next_sync_ns
    uint64_t next_space_ns
    uint64_t retry_ns               # no space: when to try again
    Chunk *held                     # taken from the queue, no room in a file yet
    uint32_t release_wanted         # a watermark has become durable
    bint punch_later                # space_punch left something (I/O thread)
    uint32_t space_wanted           # reclaim() waits for a round
    uint64_t space_rounds           # finished

    # sync: group commit
    uint32_t sync_lock              # guards the four below
    uint64_t sync_started
    uint64_t sync_finished          # number of the last one that made all durable
    uint64_t sync_failed            # number of the last one that could not (sync_result says why)
    uint32_t sync_leader            # somebody leads
    uint32_t sync_word              # futex: raised when a sync ends
    uint32_t sync_waiters
    int sync_result
    uint32_t dirty_lock
    Topic *dirty_topics
    Topic **sync_topics             # the leader's: whose durable offset it will publish
    uint64_t sync_topics_count
    uint64_t sync_topics_room
    uint64_t sync_topics_done       # how many of them are gathered
    uint8_t *sync_frames            # the leader's: frames of the record being gathered
    uint64_t sync_frames_used
    uint8_t *sync_heads             # ... its groups, their names
    uint8_t *sync_names
    uint64_t sync_names_used
    uint32_t sync_groups
    uint8_t *sync_changes           # ... the changes that it took
    uint64_t sync_changes_used
    uint64_t sync_changes_room
    uint64_t sync_changes_put       # how much of them is in a record
    uint64_t sync_stamp             # ... the newest stamp among the changes that it took
    uint64_t durable_stamp          # changes up to it are in flushed records
    uint64_t sync_sealed            # ... sequence of the last chunk that was sealed when it had gathered
    uint32_t sync_journals          # bit per journal file that it wrote
    uint32_t journal_wanted         # 1 + index of the journal file that a sync waits for; 0 none

    Control control
    void *read_cache                # of _read

# Poisons the log (once) and wakes everybody; gives LOG_POISONED.
cdef int log_fail(Log *log, int code, const char *what, const char *file) noexcept nogil
# 0, or why nothing may be done: closed, forked, poisoned.
cdef int log_check(Log *log) noexcept nogil
# Wakes every waiter of every kind: state has changed for good.
cdef void log_wake_all(Log *log) noexcept nogil
# Wakes who waits on complete_word: extents have completed, a journal file is ready, a snapshot is flushed.
cdef void files_complete_wake(Log *log) noexcept nogil
# A call that reads from staging or files begins: 0, LOG_CLOSED or LOG_FORKED (then it must not). And ends.
cdef int log_enter(Log *log) noexcept nogil
cdef void log_leave(Log *log) noexcept nogil
