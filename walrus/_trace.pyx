"""Trace and faults of the debug build.

The trace is a file opened O_APPEND; a record is one writev, so records of several threads and marks of the tests are totally
ordered and never mixed. Invariants: WRITE_BEGIN is in it before the kernel has the write, WRITE_END after its completion was
seen; a record of an operation without BEGIN and END is in it after the operation succeeded. A trace that cannot be written
aborts the process: a test that goes by a torn trace would prove nothing.

Faults are text: "write:3:EIO,flush:1:EIO:always,read:1:short", by comma: kind, which operation of that kind (from 1), an errno's
name or number or `short`, and `always` for it and all later ones.

Threads: any; the table of faults has a lock. Process-wide, as the environment is; only in debug builds.
"""
from walrus._libc cimport (EACCES, EAGAIN, EBUSY, EDQUOT, EFBIG, EINTR, EINVAL, EIO, EMFILE, ENOMEM, ENOSPC, ENOSYS,
                           EOPNOTSUPP, EPERM, EROFS, O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY, WALRUS_DEBUG, abort, getenv,
                           getpid, iovec, int64_t, memcpy, open, strlen, strncmp, strtol, uint32_t, uint64_t, walrus_add64,
                           walrus_file_size, walrus_lock, walrus_max64, walrus_unlock, writev)

cdef enum:
    FAULTS_MAX = 32
    TEXT_BYTES_MAX = 512

ctypedef struct Header:
    uint32_t magic
    uint32_t op
    uint32_t file
    uint32_t name_bytes
    uint64_t position
    uint64_t bytes
    uint64_t sequence

ctypedef struct Fault:
    int kind
    long nth
    int code
    bint always

ctypedef struct Named:
    const char *name
    int code

ctypedef struct Seam:               # what a debug build keeps process-wide
    uint64_t sequences
    uint64_t file_ids
    uint32_t lock
    Fault faults[32]
    int fault_count
    long counts[15]
    char environment_seen[512]

cdef Seam seam

DEBUG = bool(WALRUS_DEBUG)         # for the tests: whether there is a trace


# ---------------------------------------------------------------------------------------------------------------- trace

cdef int trace_open() noexcept nogil:
    cdef const char *path = getenv(b"WALRUS_TRACE")
    cdef int64_t size
    cdef int fd
    faults_of_environment()
    if path == NULL or path[0] == 0:
        return -1
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    if fd < 0:
        abort()
    # Every number given is in a record of its own, so earlier processes gave none above this.
    size = walrus_file_size(fd)
    walrus_max64(&seam.sequences, <uint64_t>size // sizeof(Header))
    walrus_max64(&seam.file_ids, <uint64_t>size // sizeof(Header))
    trace_record(fd, TRACE_OPEN_LOG, 0, NULL, 0, <uint64_t>getpid(), 0, NULL)
    return fd


cdef uint32_t trace_file_id() noexcept nogil:
    return <uint32_t>walrus_add64(&seam.file_ids, 1)


cdef void put(int fd, Header *header, const char *name, const void *data) noexcept nogil:
    cdef iovec parts[3]
    cdef int count = 1
    cdef uint64_t total = sizeof(Header)
    parts[0].iov_base = header
    parts[0].iov_len = sizeof(Header)
    if header.name_bytes:
        parts[count].iov_base = <void *>name
        parts[count].iov_len = header.name_bytes
        total += header.name_bytes
        count += 1
    if data != NULL and header.bytes:
        parts[count].iov_base = <void *>data
        parts[count].iov_len = header.bytes
        total += header.bytes
        count += 1
    if <uint64_t>writev(fd, parts, count) != total:
        abort()


cdef uint64_t trace_record(int fd, uint32_t op, uint32_t file, const char *name, uint32_t name_bytes, uint64_t position,
                           uint64_t bytes, const void *data) noexcept nogil:
    cdef Header header
    if fd < 0:
        return 0
    header.magic = TRACE_MAGIC
    header.op = op
    header.file = file
    header.name_bytes = name_bytes
    header.position = position
    header.bytes = bytes
    header.sequence = walrus_add64(&seam.sequences, 1)
    put(fd, &header, name, data)
    return header.sequence


cdef void trace_end(int fd, uint32_t op, uint32_t file, uint64_t sequence, int result) noexcept nogil:
    cdef Header header
    if fd < 0:
        return
    header.magic = TRACE_MAGIC
    header.op = op
    header.file = file
    header.name_bytes = 0
    header.position = 0
    header.bytes = <uint64_t><long long>result
    header.sequence = sequence
    put(fd, &header, NULL, NULL)


cdef void trace_rename(int fd, const char *old, const char *new) noexcept nogil:
    cdef char names[512]
    cdef size_t first = strlen(old), second = strlen(new)
    if first + second + 1 > sizeof(names):
        abort()
    memcpy(names, old, first + 1)
    memcpy(names + first + 1, new, second)
    trace_record(fd, TRACE_RENAME, 0, names, <uint32_t>(first + second + 1), 0, 0, NULL)


# --------------------------------------------------------------------------------------------------------------- faults

cdef bint is_word(const char *word, size_t length, const char *name) noexcept nogil:
    return strlen(name) == length and strncmp(name, word, length) == 0


cdef const char *kind_name(int kind) noexcept nogil:
    if kind < FAULT_ALLOCATE:
        return b"write" if kind == FAULT_WRITE else b"flush" if kind == FAULT_FLUSH else b"read"
    if kind < FAULT_MAP:
        return b"allocate" if kind == FAULT_ALLOCATE else b"rename" if kind == FAULT_RENAME else b"open"
    if kind < FAULT_UNLINK:
        return b"map" if kind == FAULT_MAP else b"submit" if kind == FAULT_SUBMIT else b"complete"
    if kind < FAULT_RING:
        return b"unlink" if kind == FAULT_UNLINK else b"directory" if kind == FAULT_DIRECTORY else b"punch"
    return b"ring" if kind == FAULT_RING else b"direct" if kind == FAULT_DIRECT else b"alignment"


cdef int errno_of(const char *word, size_t length) noexcept nogil:
    """A negative errno, FAULT_SHORT, or 0: not understood."""
    cdef Named names[16]
    cdef int i
    names = [Named(b"EIO", EIO), Named(b"ENOSPC", ENOSPC), Named(b"EINTR", EINTR), Named(b"EAGAIN", EAGAIN),
             Named(b"EINVAL", EINVAL), Named(b"EPERM", EPERM), Named(b"ENOSYS", ENOSYS), Named(b"ENOMEM", ENOMEM),
             Named(b"EOPNOTSUPP", EOPNOTSUPP), Named(b"EDQUOT", EDQUOT), Named(b"EROFS", EROFS), Named(b"EMFILE", EMFILE),
             Named(b"EACCES", EACCES), Named(b"EBUSY", EBUSY), Named(b"EFBIG", EFBIG), Named(b"short", -FAULT_SHORT)]
    for i in range(16):
        if is_word(word, length, names[i].name):
            return -names[i].code
    return -<int>strtol(word, NULL, 10)


cdef size_t word_length(const char *text) noexcept nogil:
    cdef size_t n = 0
    while text[n] != 0 and text[n] != c':' and text[n] != c',':
        n += 1
    return n


cdef int kind_of(const char *word, size_t length) noexcept nogil:
    cdef int kind
    for kind in range(FAULT_KINDS):
        if is_word(word, length, kind_name(kind)):
            return kind
    return -1


cdef const char *fault_parse(const char *text, Fault *fault) noexcept nogil:
    """Behind the fault that was read; NULL: not understood."""
    cdef char *end = NULL
    cdef size_t n = word_length(text)
    fault.kind = kind_of(text, n)
    text += n
    if fault.kind < 0 or text[0] != c':':
        return NULL
    fault.nth = strtol(text + 1, &end, 10)
    text = end
    if fault.nth < 1 or text[0] != c':':
        return NULL
    text += 1
    n = word_length(text)
    fault.code = errno_of(text, n)
    text += n
    fault.always = False
    if text[0] == c':':
        if strncmp(text, b":always", 7):
            return NULL
        fault.always = True
        text += 7
    return text if fault.code < 0 and (text[0] == 0 or text[0] == c',') else NULL


cdef int trace_set_faults(const char *text) noexcept nogil:
    cdef int i, result = 0
    walrus_lock(&seam.lock)
    for i in range(FAULT_KINDS):
        seam.counts[i] = 0
    seam.fault_count = 0
    while text != NULL and text[0] != 0:
        text = fault_parse(text, &seam.faults[seam.fault_count]) if seam.fault_count < FAULTS_MAX else NULL
        if text == NULL:
            seam.fault_count = 0
            result = -EINVAL
            break
        seam.fault_count += 1
        if text[0] == c',':
            text += 1
    walrus_unlock(&seam.lock)
    return result


cdef void faults_of_environment() noexcept nogil:
    """A text that is not the one seen last takes effect; the same one does not begin anew at each log that is opened."""
    cdef const char *text = getenv(b"WALRUS_FAULT")
    cdef size_t length
    if text == NULL:
        text = b""
    length = strlen(text)
    if length >= TEXT_BYTES_MAX:
        abort()
    walrus_lock(&seam.lock)
    if strncmp(seam.environment_seen, text, TEXT_BYTES_MAX) == 0:
        walrus_unlock(&seam.lock)
        return
    while True:
        seam.environment_seen[length] = text[length]
        if length == 0:
            break
        length -= 1
    walrus_unlock(&seam.lock)
    if trace_set_faults(text) < 0:
        abort()


cdef int fault_take(int kind) noexcept nogil:
    cdef Fault *fault
    cdef int i, code = 0
    if seam.fault_count == 0:
        return 0
    walrus_lock(&seam.lock)
    seam.counts[kind] += 1
    for i in range(seam.fault_count):
        fault = &seam.faults[i]
        if fault.kind == kind and (fault.nth == seam.counts[kind] or fault.always and fault.nth < seam.counts[kind]):
            code = fault.code
            break
    walrus_unlock(&seam.lock)
    return code


cdef uint64_t fault_shorten(uint64_t bytes, uint64_t alignment) noexcept nogil:
    cdef uint64_t half = bytes // 2
    half -= half % alignment
    return half if half else bytes
