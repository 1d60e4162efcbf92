"""Adopt: the chunks that an earlier open left in the staging file, taken over where they are.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint8_t, uint64_t
from walrus._findings cimport Findings, Found
from walrus._log_state cimport Log
from walrus._staging cimport Chunk
from walrus._topics cimport Topic

cdef enum:
    STAGING_NONE = 0                # missing, or never begun
    STAGING_FOREIGN = 1             # of another log or another open, or damaged
    STAGING_OURS = 2

# Reads the staging file's head by pread: one of the above (*same_boot filled, *bytes its chunk area), or a negative
# code.
cdef int staging_look(Log *log, const uint8_t *nonce, bint *same_boot, uint64_t *area_bytes) noexcept nogil
# Every slot in use: its chunk is adopted, its frames go to the findings. 0 or a negative code.
cdef int adopt_slots(Findings *findings) noexcept nogil
# The merge has chosen frames of a chunk: the chunk becomes the topic's, holding these (and those chosen before).
# *last: the last chunk in the topic's list. What lies below from_offset is to be had elsewhere. journal_use: the
# least use number of a journal file, which may hold the same frames.
cdef void adopt_frames(Log *log, Topic *topic, const Found *found, uint64_t from_offset, Chunk **last,
                       uint64_t journal_use) noexcept nogil
# After the merge: to the I/O thread those that hold something, in the order of the topic's offsets.
cdef void adopt_queue(Log *log, Topic *topic) noexcept nogil
# After the snapshot is flushed: slots say what counts, chunks without anything that counts are given back.
cdef void adopt_settle(Log *log) noexcept nogil
# Payload bytes of the frames in [from, end) of a run that lies at `frames`; *position: where the first frame behind
# `end` begins.
cdef uint64_t run_payload(const uint8_t *frames, uint64_t bytes, uint64_t first, uint64_t end,
                          uint64_t *position) noexcept nogil
