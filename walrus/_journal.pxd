"""Journal: a ring of pre-written files; one sequential write makes the newest frames of all topics durable.

Layer: places. Written by the leader of a sync alone (log.sync serialises them); prepared for reuse by the I/O thread.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._device cimport Device
from walrus._logfiles cimport LogFile

cdef enum:
    JOURNAL_FILES_MAX = 8
    JOURNAL_FILES = 3
    JOURNAL_FILE_BYTES = 16777216
    JOURNAL_RESERVE_BYTES = 65536   # end of each file, kept for records of catalog changes alone

ctypedef struct Journal:
    LogFile *files[8]               # LOGFILE_JOURNAL; number is the use number, 0 never used
    uint32_t count
    uint64_t file_bytes
    uint32_t at                     # file being written
    uint64_t position
    uint64_t next_use
    uint64_t sequence               # of the next record
    uint64_t flushed                # records of a lower one are
    uint64_t last_stamp[8]          # highest stamp of a change in that file
    bint has_places[8]              # recovery left places in it: they must be moved before it is overwritten
    bint ready[8]                   # may be overwritten: the I/O thread has prepared it
    uint8_t *buffer                 # of a record being gathered
    uint64_t buffer_bytes
    uint64_t used

cdef int journal_open(Journal *journal, Device *device, uint32_t count, uint64_t file_bytes, bint create) noexcept nogil
cdef void journal_close(Journal *journal, Device *device) noexcept nogil
cdef void journal_name(char *text, uint32_t index) noexcept nogil            # "journal-0"
