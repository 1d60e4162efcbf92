"""Journal: a ring of pre-written files; one sequential write makes the newest frames of all topics durable.

A journal file is a run of records from position 0 (ExtentHeader of kind EXTENT_KIND_JOURNAL), all seeded with the
file's use number, which is drawn anew each time the ring comes to the file; `sequence` is dense over all records. The
files are written through once when they are made and overwritten in turn: a sync costs one write and one flush, and no
metadata.

Threads: the leader of a sync writes; opening and the I/O thread prepare. No GIL.
"""
from walrus._device cimport (FILE_CREATE, device_sync_directory, file_close, file_open, file_write_through)
from walrus._extent cimport BLOCK_BYTES
from walrus._libc cimport ENOMEM, calloc, free, posix_memalign
from walrus._logfiles cimport LOGFILE_JOURNAL
from libc.stdio cimport snprintf


cdef void journal_name(char *text, uint32_t index) noexcept nogil:
    snprintf(text, 64, b"journal-%u", index)


cdef int journal_open(Journal *journal, Device *device, uint32_t count, uint64_t file_bytes, bint create) noexcept nogil:
    """Opens the files; with `create`, makes and writes through those that are missing or too short."""
    cdef char name[64]
    cdef uint32_t i
    cdef int result
    cdef LogFile *file
    if posix_memalign(<void **>&journal.buffer, BLOCK_BYTES, file_bytes):
        return -ENOMEM
    journal.buffer_bytes = file_bytes
    journal.file_bytes = file_bytes
    for i in range(count):
        file = <LogFile *>calloc(1, sizeof(LogFile))
        if file == NULL:
            return -ENOMEM
        journal.files[i] = file
        journal.count = i + 1
        file.state = LOGFILE_JOURNAL
        file.name = i
        file.file.fd = -1
        journal_name(name, i)
        result = file_open(device, &file.file, name, FILE_CREATE if create else 0)
        if result >= 0 and create and file.file.size < file_bytes:
            result = file_write_through(device, &file.file, file_bytes)
        if result < 0:
            return result
    return device_sync_directory(device) if create else 0


cdef void journal_close(Journal *journal, Device *device) noexcept nogil:
    cdef uint32_t i
    for i in range(journal.count):
        if journal.files[i].file.fd >= 0:
            file_close(device, &journal.files[i].file)
        free(journal.files[i])
        journal.files[i] = NULL
    journal.count = 0
    free(journal.buffer)
    journal.buffer = NULL
