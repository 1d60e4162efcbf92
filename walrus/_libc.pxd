"""Declarations of C: atomics, threads, files, mappings, clocks. Extern only, nothing here has a body of Cython.

Layer: declarations. Threads: everything may be called from any thread, without the GIL.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <linux/fs.h>
    #include <linux/futex.h>
    #include <linux/magic.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/eventfd.h>
    #include <sys/file.h>
    #include <sys/ioctl.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <sys/vfs.h>
    #include <time.h>
    #include <unistd.h>
    #ifndef WALRUS_DEBUG
    #define WALRUS_DEBUG 0
    #endif
    #ifndef WALRUS_NATIVE_ONCE
    #define WALRUS_NATIVE_ONCE
    #define walrus_load32(p) __atomic_load_n((uint32_t *)(p), __ATOMIC_ACQUIRE)
    #define walrus_load64(p) __atomic_load_n((uint64_t *)(p), __ATOMIC_ACQUIRE)
    #define walrus_store32(p, v) __atomic_store_n((uint32_t *)(p), (uint32_t)(v), __ATOMIC_RELEASE)
    #define walrus_store64(p, v) __atomic_store_n((uint64_t *)(p), (uint64_t)(v), __ATOMIC_RELEASE)
    #define walrus_add32(p, v) __atomic_add_fetch((uint32_t *)(p), (uint32_t)(v), __ATOMIC_SEQ_CST)
    #define walrus_add64(p, v) __atomic_add_fetch((uint64_t *)(p), (uint64_t)(v), __ATOMIC_SEQ_CST)
    #define walrus_exchange32(p, v) __atomic_exchange_n((uint32_t *)(p), (uint32_t)(v), __ATOMIC_SEQ_CST)
    static inline int walrus_swap32(uint32_t *p, uint32_t old, uint32_t new_value) {
        return __atomic_compare_exchange_n(p, &old, new_value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    #if defined(__x86_64__)
    #define walrus_pause() __builtin_ia32_pause()
    #else
    #define walrus_pause() __asm__ __volatile__("yield" ::: "memory")
    #endif
    static inline uint64_t walrus_inode(int fd) { struct stat s; return fstat(fd, &s) < 0 ? 0 : (uint64_t)s.st_ino; }
    static inline uint64_t walrus_inode_at(int directory, const char *name) {
        struct stat s; return fstatat(directory, name, &s, 0) < 0 ? 0 : (uint64_t)s.st_ino;
    }
    /* On btrfs: files made in this directory are written over in place, so what was allocated stays allocated. */
    static inline void walrus_no_copy_on_write(int directory) {
        struct statfs s;
        int flags = 0;
        if (fstatfs(directory, &s) < 0 || s.f_type != BTRFS_SUPER_MAGIC || ioctl(directory, FS_IOC_GETFLAGS, &flags) < 0) return;
        flags |= FS_NOCOW_FL;
        ioctl(directory, FS_IOC_SETFLAGS, &flags);
    }
    /* An open-file-description lock for writing on [position, position + bytes): the kernel frees it when its holder dies. */
    static inline int walrus_record_lock(int fd, int64_t position, int64_t bytes, int wait) {
        struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = position, .l_len = bytes };
        return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l) < 0 ? -errno : 0;
    }
    static inline int walrus_record_unlock(int fd, int64_t position, int64_t bytes) {
        struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = position, .l_len = bytes };
        return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
    }
    static inline void walrus_sleep_ns(int64_t ns) {
        struct timespec t = { ns / 1000000000, ns % 1000000000 }; nanosleep(&t, 0);
    }
    #define walrus_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    #define walrus_likely(x) __builtin_expect(!!(x), 1)
    static inline long walrus_futex_wait(uint32_t *word, uint32_t value, int64_t timeout_ns, int shared) {
        struct timespec t, *tp = 0;
        if (timeout_ns >= 0) { t.tv_sec = timeout_ns / 1000000000; t.tv_nsec = timeout_ns % 1000000000; tp = &t; }
        long r = syscall(SYS_futex, word, shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, value, tp, 0, 0);
        return r < 0 ? -errno : r;
    }
    static inline long walrus_futex_wake(uint32_t *word, int count, int shared) {
        return syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
    }
    static inline uint64_t walrus_realtime_ns(void) {
        struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    static inline uint64_t walrus_monotonic_ns(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    /* A mutex of one word: 0 free, 1 held, 2 held with sleepers (Drepper, "Futexes are tricky"). */
    static inline int walrus_trylock(uint32_t *m) {
        uint32_t zero = 0;
        return __atomic_compare_exchange_n(m, &zero, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    }
    static inline void walrus_lock(uint32_t *m) {
        if (walrus_trylock(m)) return;
        for (int i = 0; i < 64; i++) { if (walrus_trylock(m)) return; walrus_pause(); }
        while (__atomic_exchange_n(m, 2, __ATOMIC_ACQUIRE) != 0) walrus_futex_wait(m, 2, -1, 0);
    }
    static inline void walrus_unlock(uint32_t *m) {
        if (__atomic_exchange_n(m, 0, __ATOMIC_RELEASE) == 2) walrus_futex_wake(m, 1, 0);
    }
    #endif
    """
    const int WALRUS_DEBUG
    uint32_t walrus_load32(void *p) noexcept nogil
    uint64_t walrus_load64(void *p) noexcept nogil
    void walrus_store32(void *p, uint32_t v) noexcept nogil
    void walrus_store64(void *p, uint64_t v) noexcept nogil
    uint32_t walrus_add32(void *p, uint32_t v) noexcept nogil
    uint64_t walrus_add64(void *p, uint64_t v) noexcept nogil
    uint32_t walrus_exchange32(void *p, uint32_t v) noexcept nogil
    bint walrus_swap32(uint32_t *p, uint32_t old, uint32_t new_value) noexcept nogil
    void walrus_fence() noexcept nogil
    void walrus_pause() noexcept nogil
    void walrus_sleep_ns(int64_t ns) noexcept nogil
    uint64_t walrus_inode(int fd) noexcept nogil
    uint64_t walrus_inode_at(int directory, const char *name) noexcept nogil
    int64_t walrus_file_size(int fd) noexcept nogil
    void walrus_no_copy_on_write(int directory) noexcept nogil
    int walrus_record_lock(int fd, int64_t position, int64_t bytes, int wait) noexcept nogil
    int walrus_record_unlock(int fd, int64_t position, int64_t bytes) noexcept nogil
    bint walrus_likely(bint x) noexcept nogil
    long walrus_futex_wait(uint32_t *word, uint32_t value, int64_t timeout_ns, int shared) noexcept nogil
    long walrus_futex_wake(uint32_t *word, int count, int shared) noexcept nogil
    uint64_t walrus_realtime_ns() noexcept nogil
    uint64_t walrus_monotonic_ns() noexcept nogil
    bint walrus_trylock(uint32_t *m) noexcept nogil
    void walrus_lock(uint32_t *m) noexcept nogil
    void walrus_unlock(uint32_t *m) noexcept nogil

cdef extern from "errno.h" nogil:
    int errno
    const int EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, ENOTSUP, ESRCH, EWOULDBLOCK, ETIMEDOUT
    const int EDQUOT, EFBIG, EROFS, EACCES, EPERM, ENOSYS, EOPNOTSUPP, ETIME, EILSEQ

cdef extern from "pthread.h" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t *thread, const void *attributes, void *(*start)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_detach(pthread_t thread)
    int pthread_atfork(void (*prepare)() noexcept nogil, void (*parent)() noexcept nogil,
                       void (*child)() noexcept nogil)

cdef extern from "signal.h" nogil:
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t *mask)
    int pthread_sigmask(int how, const sigset_t *mask, sigset_t *old)
    const int SIG_SETMASK

cdef extern from "fcntl.h" nogil:
    const int O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_CLOEXEC, O_DIRECT, O_DIRECTORY, O_TRUNC
    const int FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
    const int POSIX_FADV_DONTNEED, POSIX_FADV_RANDOM
    int open(const char *path, int flags, ...)
    int openat(int directory, const char *path, int flags, ...)
    int fallocate(int fd, int mode, int64_t offset, int64_t length)
    int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)

cdef extern from "sys/mman.h" nogil:
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_POPULATE, MAP_NORESERVE
    const int MADV_DONTFORK, MS_ASYNC
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)
    int munmap(void *address, size_t length)
    int madvise(void *address, size_t length, int advice)

cdef extern from "sys/file.h" nogil:
    const int LOCK_EX, LOCK_NB, LOCK_UN
    int flock(int fd, int operation)

cdef extern from "sys/eventfd.h" nogil:
    const int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)

cdef extern from "poll.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    const int POLLIN
    int poll(pollfd *descriptors, unsigned long count, int timeout_ms)

cdef extern from "unistd.h" nogil:
    int close(int fd)
    int ftruncate(int fd, int64_t length)
    int fdatasync(int fd)
    int fsync(int fd)
    int unlinkat(int directory, const char *path, int flags)
    ssize_t pread(int fd, void *buffer, size_t count, int64_t offset)
    ssize_t pwrite(int fd, const void *buffer, size_t count, int64_t offset)
    ssize_t read(int fd, void *buffer, size_t count)
    ssize_t write(int fd, const void *buffer, size_t count)
    int getpid()

cdef extern from "signal.h" nogil:
    int kill(int pid, int signal)

cdef extern from "sys/stat.h" nogil:
    int mkdir(const char *path, unsigned int mode)

cdef extern from "errno.h" nogil:
    const int ENAMETOOLONG

cdef extern from "stdio.h" nogil:
    int renameat(int olddir, const char *old, int newdir, const char *new)

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)
    void *calloc(size_t count, size_t size)
    void *malloc(size_t size)
    void *realloc(void *memory, size_t size)
    void free(void *memory)

cdef extern from "string.h" nogil:
    void *memcpy(void *target, const void *source, size_t count)
    void *memmove(void *target, const void *source, size_t count)
    void *memset(void *target, int value, size_t count)
    int memcmp(const void *a, const void *b, size_t count)
    size_t strlen(const char *text)

# -- devices: what _device, _ring and _trace use beyond the above
cdef extern from *:
    """
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/uio.h>
    #ifndef WALRUS_DEVICE_ONCE
    #define WALRUS_DEVICE_ONCE
    #ifndef MADV_POPULATE_WRITE
    #define MADV_POPULATE_WRITE 23
    #endif
    static inline void walrus_max64(uint64_t *p, uint64_t v) {
        uint64_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (seen < v && !__atomic_compare_exchange_n(p, &seen, v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { }
    }
    static inline int64_t walrus_file_size(int fd) {
        struct stat s;
        return fstat(fd, &s) < 0 ? -(int64_t)errno : (int64_t)s.st_size;
    }
    /* The larger of the alignments of memory and of position; 0: no O_DIRECT here; -errno: not told (before Linux 6.1). */
    static inline int walrus_direct_alignment(int fd) {
    #ifdef STATX_DIOALIGN
        struct statx s;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &s) < 0) return -errno;
        if (!(s.stx_mask & STATX_DIOALIGN)) return -EOPNOTSUPP;
        if (s.stx_dio_mem_align == 0 || s.stx_dio_offset_align == 0) return 0;
        return (int)(s.stx_dio_mem_align > s.stx_dio_offset_align ? s.stx_dio_mem_align : s.stx_dio_offset_align);
    #else
        (void)fd;
        return -ENOSYS;
    #endif
    }
    static inline int walrus_is_read_only(int fd) { return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY; }
    #endif
    """
    void walrus_max64(uint64_t *p, uint64_t v) noexcept nogil
    int64_t walrus_file_size(int fd) noexcept nogil
    int walrus_direct_alignment(int fd) noexcept nogil
    bint walrus_is_read_only(int fd) noexcept nogil
    const int MADV_POPULATE_WRITE

cdef extern from "errno.h" nogil:
    const int EBADF, EMFILE, ENODEV

cdef extern from "fcntl.h" nogil:
    const int O_APPEND, O_WRONLY

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec *vector, int count)

cdef extern from "unistd.h" nogil:
    int usleep(unsigned int microseconds)

cdef extern from "stdlib.h" nogil:
    char *getenv(const char *name)
    long strtol(const char *text, char **end, int base)
    void abort()

cdef extern from "string.h" nogil:
    int strncmp(const char *a, const char *b, size_t count)
    char *strncpy(char *target, const char *source, size_t count)
    char *strchr(const char *text, int character)
