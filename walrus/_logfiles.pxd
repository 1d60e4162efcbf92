"""Log files: the one being filled, the full ones, the spare ones; their numbers, tables, and who still needs them.

Layer: places. The list is changed by the I/O thread (and by opening) under files.lock; others read it under that lock, and pin
a file before they read from it.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._device cimport Device, DeviceFile

cdef enum:
    LOGFILE_CURRENT = 1             # being filled
    LOGFILE_FULL = 2                # nothing more goes in; writes may be in flight, or not flushed
    LOGFILE_FLUSHED = 3             # table written, all flushed: the next snapshot lists it
    LOGFILE_LISTED = 4              # a flushed snapshot lists it
    LOGFILE_SPARE = 5               # prepared or recycled, no number in use yet
    LOGFILE_JOURNAL = 6             # a file of the journal, as a place to read from
    LOG_FILE_BYTES_MIN = 16777216
    LOG_FILE_BYTES_MAX = 268435456
    SPARE_FILES_MAX = 2

ctypedef struct LogFile
ctypedef struct LogFile:
    DeviceFile file
    uint64_t name                   # NNN of log-NNN, or of journal-NNN
    uint64_t number
    uint32_t state
    uint32_t pins                   # readers and flushers
    uint64_t end                    # where the next extent goes
    uint64_t in_flight              # extents
    uint64_t live                   # atomic: groups with entries at or above their topic's durable low watermark
    uint64_t live_bytes
    uint32_t unflushed              # completed writes since the last flush began (atomic)
    GroupHeader *table              # groups so far, for the table at its end
    uint32_t table_count
    uint32_t table_room
    uint64_t table_position
    uint64_t table_size
    uint32_t table_crc
    bint punched
    uint64_t live_seen              # live_bytes when space_punch looked last, and since when they are that many
    uint64_t live_seen_ns
    uint64_t punched_live           # live_bytes when it was punched last
    uint64_t landed                 # all below is in place: extents in front of it have completed
    uint64_t flushed                # all below is flushed
    bint scanned                    # recovery had to scan it
    bint broken                     # ... and found damage: nothing more is written into it
    LogFile *next

ctypedef struct LogFiles:
    uint32_t lock
    uint32_t flush_lock             # taken before `lock`; held from clearing a file's `unflushed` until it is flushed
    int flush_error                 # of the first flush that failed: nothing is flushed any more
    LogFile *first                  # all, oldest name first
    LogFile *last
    LogFile *current
    uint64_t next_name
    uint64_t next_counter           # of numbers
    uint64_t bytes_wanted           # size of the next file to be made: grows
    uint64_t bytes_max
    uint64_t count
    uint64_t total_bytes
    uint64_t recycled
    uint64_t created

cdef LogFile *logfile_new(LogFiles *files, uint64_t name) noexcept nogil     # entered into the list, closed; NULL: no memory
cdef void logfile_drop(LogFiles *files, Device *device, LogFile *file) noexcept nogil    # out of the list, closed, freed
cdef void logfile_name(char *text, uint64_t name) noexcept nogil             # "log-00000001"
# A spare file or a new one of at least `least` bytes, with blocks, a new number in its head, as files.current. -ENOSPC: no room.
# I/O thread only.
cdef int logfiles_advance(LogFiles *files, Device *device, const uint8_t *log_id, uint32_t epoch, uint64_t least) noexcept nogil
# Overwrites the head of a file that is spare from now on: opening then need not scan it.
cdef int logfile_clear(LogFile *file, Device *device) noexcept nogil
# Remembers a group for the file's table. 0 or -ENOMEM.
cdef int logfile_note(LogFile *file, const GroupHeader *group) noexcept nogil
# Would an extent of `bytes` with `groups` more groups leave room for the table?
cdef bint logfile_fits(LogFile *file, uint64_t bytes, uint32_t groups) noexcept nogil
# Writes the table behind the extents (all complete), flushes; state becomes LOGFILE_FLUSHED. I/O thread or open/close.
cdef int logfile_finish(LogFiles *files, LogFile *file, Device *device, const uint8_t *log_id) noexcept nogil
# Flushes every log file that has completed writes; what other threads are flushing is flushed, too, when it returns. Any
# thread.
cdef int logfiles_flush(LogFiles *files, Device *device) noexcept nogil
cdef void logfiles_close(LogFiles *files, Device *device) noexcept nogil
