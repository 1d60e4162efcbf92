"""Survey: what lies in the directory, which boot this is, and numbers that nobody guesses.

Only names that we would give ourselves are ours: what else lies in the directory is nobody's business here.

Threads: opening alone. No GIL.
"""
from walrus._journal cimport JOURNAL_FILES_MAX, journal_name
from walrus._libc cimport (EINTR, ENOMEM, O_CLOEXEC, O_DIRECTORY, O_RDONLY, WALRUS_DEBUG, close, errno, free, getenv,
                           memset, open, openat, read, realloc)
from walrus._logfiles cimport logfile_name
from libc.stdlib cimport getenv, qsort, strtoull
from libc.string cimport strcmp, strncmp

cdef extern from "dirent.h" nogil:
    ctypedef struct DIR:
        pass
    struct dirent:
        char *d_name
    DIR *fdopendir(int fd)
    dirent *readdir(DIR *directory)
    int closedir(DIR *directory)

cdef extern from "sys/random.h" nogil:
    ssize_t getrandom(void *buffer, size_t bytes, unsigned int flags)


cdef int random_bytes(uint8_t *target, uint64_t bytes) noexcept nogil:
    cdef ssize_t got
    while bytes:
        got = getrandom(target, bytes, 0)
        if got < 0 and errno != EINTR:
            return -errno
        if got > 0:
            target += got
            bytes -= <uint64_t>got
    return 0


cdef bint all_zero(const uint8_t *memory, uint64_t bytes) noexcept nogil:
    cdef uint64_t i
    for i in range(bytes):
        if memory[i]:
            return False
    return True


cdef int hex_digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef ssize_t boot_text(char *text, size_t room) noexcept nogil:
    """What the kernel says of this boot; nothing in the debug build where a test plays a machine started anew."""
    cdef ssize_t got
    cdef int fd
    if WALRUS_DEBUG and getenv(b"WALRUS_OTHER_BOOT") != NULL:
        return 0
    fd = open(b"/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return 0
    got = read(fd, text, room)
    close(fd)
    return got


cdef void boot_id_read(uint8_t *boot_id) noexcept nogil:
    cdef char text[64]
    cdef ssize_t got = boot_text(text, sizeof(text))
    cdef int i, digits = 0, digit
    memset(boot_id, 0, 16)
    for i in range(<int>got):
        digit = hex_digit(text[i])
        if digit >= 0 and digits < 32:
            boot_id[digits // 2] = <uint8_t>((boot_id[digits // 2] << 4) | digit)
            digits += 1
    if WALRUS_DEBUG and getenv(b"WALRUS_OTHER_BOOT") != NULL:
        # Tests of power cuts open what they made in "another" boot: one for each value of the variable.
        boot_id[0] = <uint8_t>getenv(b"WALRUS_OTHER_BOOT")[0]


cdef int name_keep(Survey *survey, uint64_t name) noexcept nogil:
    cdef void *memory
    if survey.count == survey.room:
        survey.room = survey.room * 2 if survey.room else <uint64_t>64
        memory = realloc(survey.names, survey.room * sizeof(uint64_t))
        if memory == NULL:
            return -ENOMEM
        survey.names = <uint64_t *>memory
    survey.names[survey.count] = name
    survey.count += 1
    return 0


cdef int entry_look(Survey *survey, const char *text) noexcept nogil:
    cdef char wanted[64]
    cdef uint64_t name
    cdef uint32_t i
    if strncmp(text, b"log-", 4) == 0:
        name = strtoull(text + 4, NULL, 10)
        logfile_name(wanted, name)
        return name_keep(survey, name) if strcmp(text, wanted) == 0 else 0
    for i in range(JOURNAL_FILES_MAX):
        journal_name(wanted, i)
        if strcmp(text, wanted) == 0:
            survey.journals |= <uint32_t>1 << i
    if strcmp(text, b"catalog.0") == 0:
        survey.slots |= 1
    elif strcmp(text, b"catalog.1") == 0:
        survey.slots |= 2
    elif strcmp(text, b"staging") == 0:
        survey.staging = True
    elif strcmp(text, b"control") == 0:
        survey.control = True
    return 0


cdef int ascending(const void *a, const void *b) noexcept nogil:
    cdef uint64_t left = (<const uint64_t *>a)[0], right = (<const uint64_t *>b)[0]
    return -1 if left < right else (1 if left > right else 0)


cdef int survey_directory(Log *log, Survey *survey) noexcept nogil:
    cdef DIR *directory
    cdef dirent *entry
    cdef int result = 0
    # A descriptor of its own: the position in the directory belongs to it.
    cdef int fd = openat(log.directory, b".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    memset(survey, 0, sizeof(Survey))
    if fd < 0:
        return -errno
    directory = fdopendir(fd)
    if directory == NULL:
        result = -errno
        close(fd)
        return result
    while result == 0:
        entry = readdir(directory)
        if entry == NULL:
            break
        result = entry_look(survey, entry.d_name)
    closedir(directory)
    if survey.count:
        qsort(survey.names, survey.count, sizeof(uint64_t), ascending)
    return result


cdef void survey_free(Survey *survey) noexcept nogil:
    free(survey.names)
    survey.names = NULL
    survey.count = 0
