"""Findings: what opening has read of frames, wherever they lay, before it is decided what counts.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._extent cimport GroupHeader
from walrus._log_state cimport Log
from walrus._logfiles cimport LogFile
from walrus._staging cimport Chunk
from walrus._topics cimport Topic

cdef enum:
    SOURCE_JOURNAL = 1              # of equal frames the higher source is taken
    SOURCE_STAGING = 2
    SOURCE_EXTENT = 3

# Frames of one topic that validated one after another, or a piece; or, with count 0, a claim.
ctypedef struct Found:
    GroupHeader group               # position: from the beginning of the file, or of the chunk
    uint64_t end                    # behind the last frame that counts; set by the merge
    uint64_t claim                  # the highest offset that its frames say was durable when they were written
    LogFile *file
    Chunk *chunk
    uint32_t source
    bint chosen

ctypedef struct Gap:                # of a file that was scanned on behind it
    LogFile *file
    uint64_t begin
    uint64_t end
    bint proven                     # what lay there had been flushed: damage; else a topic's claims must say so

ctypedef struct Records:            # of a journal file
    uint64_t first                  # sequences; 0: none was read
    uint64_t next
    uint64_t flushed                # highest that one of them says

ctypedef struct Findings:
    Log *log
    Found *found
    uint64_t count
    uint64_t room
    uint64_t snapshot_epoch         # of the snapshot that was read
    uint64_t snapshot_stamp
    uint64_t epoch_seen             # highest of all that was read
    uint64_t stamp_seen
    uint8_t *changes                # with stamps above the snapshot's, one after another
    uint64_t changes_bytes
    uint64_t changes_room
    Gap *gaps
    uint64_t gap_count
    uint64_t gap_room
    Records records[8]
    uint32_t version_met            # of a frame that is too new
    bint same_boot                  # the staging is of this boot: what it promised must be there
    bint unclean

cdef void findings_free(Findings *findings) noexcept nogil
# 0 or -ENOMEM.
cdef int findings_add(Findings *findings, const Found *found) noexcept nogil
# 0 or -ENOMEM.
cdef int findings_gap(Findings *findings, LogFile *file, uint64_t begin, uint64_t end, bint proven) noexcept nogil
# The group's frames lie at `frames`; group.position is where they lie in the file or chunk. Every frame is validated;
# runs of valid ones and whole pieces are added. 1: all of it valid; 0: not; -ENOMEM, LOG_TOO_NEW.
cdef int findings_group(Findings *findings, const uint8_t *frames, const GroupHeader *group, LogFile *file,
                        uint32_t source) noexcept nogil
# Somebody was told that offsets below `offset` are there, in that epoch.
cdef int findings_claim(Findings *findings, uint64_t topic_id, uint32_t epoch, uint64_t offset) noexcept nogil
# Of the frame at `at`.
cdef uint32_t frame_version(const uint8_t *at) noexcept nogil
# The topic; entered if it is unknown, may be, and has a name. NULL: none (*code 0), or no memory (*code negative).
cdef Topic *findings_topic(Findings *findings, uint64_t id, const uint8_t *name, uint32_t name_bytes,
                           int *code) noexcept nogil
# Why the log is not opened; gives `result`. With LOG_TOO_NEW `code` is the version.
cdef int refuse(Log *log, int result, const char *what, const char *file, int code) noexcept nogil
