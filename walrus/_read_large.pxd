"""Large frames: pieces in chunks and on disk, put together again, checked for completeness, read a piece at a time.

Layer: the log. A LargeFrame belongs to one reader.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._frame cimport FrameView
from walrus._log_state cimport Log
from walrus._read_source cimport ReadFailure, Source
from walrus._topics cimport Topic

ctypedef struct LargeFrame:
    bint open
    uint64_t first
    uint64_t stamp
    uint64_t time_ns
    uint64_t body_bytes             # u32 lengths (if entries > 1), then the payloads
    uint32_t count
    uint32_t pieces
    uint64_t *starts                # of pieces + 1: where each piece's part of the body begins
    uint32_t found                  # groups of its pieces, those twice there counted twice
    uint32_t *lengths               # of `count`; NULL until one was needed
    Source source                   # of the piece at hand
    uint32_t number
    bint viewed                     # `view` is that piece, verified, while source.held
    FrameView view
    uint32_t index                  # entry whose payload begins at `begin` of the body
    uint64_t begin

# Looks for all pieces of the frame of which `piece` is one, and reads its lengths. 0, LOG_CORRUPT (failure filled, but for its
# offset), LOG_OUT_OF_RANGE, LOG_NO_MEMORY, a negative errno.
cdef int large_open(Log *log, Topic *topic, LargeFrame *large, const GroupHeader *piece, ReadFailure *failure) noexcept nogil
cdef inline bint large_has(const LargeFrame *large, uint64_t offset) noexcept nogil:
    return large.open and offset - large.first < large.count
# Where the payload of entry `index` lies in the body.
cdef void large_entry(LargeFrame *large, uint32_t index, uint64_t *begin, uint64_t *length) noexcept nogil
# Which piece has that byte of the body.
cdef uint32_t large_number(const LargeFrame *large, uint64_t at) noexcept nogil
# Holds the piece, verified. Results as large_open.
cdef int large_piece(Log *log, Topic *topic, LargeFrame *large, uint32_t number, ReadFailure *failure) noexcept nogil
# Copies [begin, begin + length) of the body. Results as large_open.
cdef int large_copy(Log *log, Topic *topic, LargeFrame *large, uint64_t begin, uint64_t length, uint8_t *target,
                    ReadFailure *failure) noexcept nogil
cdef void large_rest(Log *log, LargeFrame *large) noexcept nogil
cdef void large_forget(Log *log, LargeFrame *large) noexcept nogil
cdef void large_free(Log *log, LargeFrame *large) noexcept nogil
