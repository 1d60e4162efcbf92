"""Space: low watermarks by retention, files recycled, holes punched.

Layer: the log. The I/O thread (and opening); watermarks under catalog.lock.
"""
from walrus._log_state cimport Log

# Raises the low watermarks as far as retention allows (a change of the catalog). Number of topics changed, or -ENOMEM.
cdef int space_raise_watermarks(Log *log) noexcept nogil
# After a sync has made watermarks durable: drops places below them, recycles files without live groups. I/O thread.
cdef int space_release(Log *log) noexcept nogil
# Punches dead ranges of listed files of which most is dead; `at_once` also where it died only now. Sets log.punch_later where it
# left such files for later. I/O thread.
cdef int space_punch(Log *log, bint at_once) noexcept nogil
