"""Scan: reading log files and journal files from their beginning to the first gap, and beyond it where damage is
suspected.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint8_t, uint64_t
from walrus._device cimport Device, DeviceFile
from walrus._findings cimport Findings, Records
from walrus._logfiles cimport LogFile
from walrus._snapshot_format cimport SnapshotFile

ctypedef struct Window:             # a piece of a file in memory
    Device *device
    DeviceFile *file
    uint8_t *memory                 # BLOCK_BYTES aligned
    uint64_t room
    uint64_t begin                  # position in the file of memory[0]
    uint64_t bytes                  # of the file that are in memory

# Keeps the memory of an earlier file.
cdef void window_begin(Window *window, Device *device, DeviceFile *file) noexcept nogil
cdef void window_free(Window *window) noexcept nogil
# `bytes` from `position` (a multiple of BLOCK_BYTES) on, reading `ahead` bytes where it has to read; NULL: not there,
# or not to be read (*code: 0 or a negative errno).
cdef const uint8_t *window_at(Window *window, uint64_t position, uint64_t bytes, uint64_t ahead,
                              int *code) noexcept nogil

# From file.end (a log file's first extent, to begin with) on: frames to the findings, groups to the file's table;
# file.end is where the first gap is that is not proven to be damage. `beyond`: goes on behind such ones too, block by
# block. *damaged: something was found behind a gap, or could not be read; the gaps are in the findings. 0, -ENOMEM, LOG_TOO_NEW, LOG_NO_MEMORY.
cdef int scan_log_file(Findings *findings, Window *window, LogFile *file, bint beyond, bint *damaged) noexcept nogil
# The table of a listed file instead of its extents. 1; 0: it does not validate; negative as above.
cdef int scan_table(Findings *findings, Window *window, LogFile *file, const SnapshotFile *row) noexcept nogil
# A journal file from file.end on: its use number, frames, changes; `records` and `last_stamp` are raised to what is
# seen.
cdef int scan_journal_file(Findings *findings, Window *window, LogFile *file, bint beyond, Records *records,
                           uint64_t *last_stamp) noexcept nogil
