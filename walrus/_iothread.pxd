"""The I/O thread: takes sealed chunks, writes extents, frees staging, runs the schedule, prepares and recycles files.

Layer: the log. One native thread per log; never takes the GIL. It alone changes log files and flights.
"""
from walrus._log_state cimport Log

cdef int iothread_start(Log *log) noexcept nogil
# Ends it after all that was sealed is written (drain) or at once; joins.
cdef void iothread_stop(Log *log, bint drain) noexcept nogil
