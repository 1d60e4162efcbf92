"""Where frames are read from: a chunk of the staging, pinned, or a group of a log file, held in the cache.

Layer: the log. A Source is used by one thread at a time. Found by offset, or by a piece of a large frame.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._frame cimport FrameView
from walrus._log_state cimport Log
from walrus._read_cache cimport CachedRange, RangeKey
from walrus._staging cimport Chunk
from walrus._topics cimport Topic

cdef enum:
    SOURCE_NONE = 0
    SOURCE_CHUNK = 1
    SOURCE_PLACE = 2

ctypedef struct ReadFailure:        # after LOG_CORRUPT, or a negative errno
    uint64_t offset                 # first offset that cannot be read
    uint64_t next_offset            # where reading can go on
    char file[64]                   # empty: nothing was found for that offset
    uint64_t position
    int code                        # errno of a failed read, or 0: bytes do not validate

ctypedef struct ReadAhead:          # places are named by (first, piece); all that is asked for in one go is a window
    uint64_t bytes                  # of the newest window at most; 0: nothing has been read ahead
    uint64_t next_first             # where the newest window begins: at this place the next one is asked for
    uint32_t next_piece
    uint64_t end_first              # the first place behind the newest window
    uint32_t end_piece

ctypedef struct Source:
    uint32_t kind
    bint held                       # chunk pinned, or range referenced
    GroupHeader group               # as it was when found; position from `base`
    uint64_t end                    # offset behind the last entry that counts
    const uint8_t *base
    Chunk *chunk
    uint32_t generation             # of the chunk, when it was found
    RangeKey key
    CachedRange *cached
    ReadAhead ahead

# Finds and holds what has `offset` (of a large frame: its first piece). `ahead`: reading goes on from here, places behind it
# are read meanwhile. `fresh`: from the disk, whatever the cache has. The source must hold nothing. 0; LOG_OUT_OF_RANGE below
# the watermark; LOG_CORRUPT where nothing has it (failure filled, but for its offset), LOG_NO_MEMORY, a negative errno.
cdef int source_find(Log *log, Topic *topic, uint64_t offset, bint ahead, bint fresh, Source *source,
                     ReadFailure *failure) noexcept nogil
# The same for piece `number` of the frame that begins at `first` and has that stamp.
cdef int source_find_piece(Log *log, Topic *topic, uint64_t first, uint64_t stamp, uint32_t number, bint fresh,
                           Source *source, ReadFailure *failure) noexcept nogil
# Lets go; what is remembered lets source_resume hold the same bytes again: True, or False if they are gone.
cdef void source_rest(Log *log, Source *source) noexcept nogil
cdef bint source_resume(Log *log, Topic *topic, Source *source) noexcept nogil
# Lets go and remembers nothing.
cdef void source_forget(Log *log, Source *source) noexcept nogil
# Bytes from `base` that may be looked at: frames that are published, or those of the group.
cdef uint64_t source_room(const Source *source) noexcept nogil
# The frame at `at`, verified (unless it has been, in this cached range): 1, or as frame_read.
cdef int source_frame(const Source *source, uint32_t seed, uint64_t at, FrameView *view) noexcept nogil
# Where the bytes at `at` lie, into a failure.
cdef void source_blame(Log *log, const Source *source, uint64_t at, ReadFailure *failure) noexcept nogil
# End of the damaged range of the topic that holds `offset`, or 0.
cdef uint64_t damage_end(Topic *topic, uint64_t offset) noexcept nogil
# Index of the first place at or behind (first, piece); caller holds topic.lock.
cdef uint64_t place_from(const Topic *topic, uint64_t first, uint32_t piece) noexcept nogil
# Reads the places of the first *covered of `count` offsets into the cache, in one submission: as many as DEVICE_BATCH_MAX
# and the cache's size allow. What cannot be read is not there afterwards, and told to who reads it. 0 or LOG_NO_MEMORY.
cdef int sources_prefetch(Log *log, Topic *topic, const uint64_t *offsets, uint32_t count,
                          uint32_t *covered) noexcept nogil
