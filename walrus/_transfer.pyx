"""Transfers without a ring: opening with O_DIRECT where that is to be had, and reads and writes that go on until they are whole.

O_DIRECT is declined for a file whose alignment is more than TRANSFER_ALIGNMENT_MAX: that is what callers align to.

Threads: any. No GIL, nothing raises.
"""
from walrus._device_types cimport FILE_CREATE, FILE_EXCLUSIVE, FILE_READ_ONLY
from walrus._libc cimport (EEXIST, EINTR, EINVAL, EIO, O_CLOEXEC, O_CREAT, O_DIRECT, O_EXCL, O_RDONLY, O_RDWR, WALRUS_DEBUG,
                           close, errno, int64_t, memcpy, openat, pread, pwrite, uint32_t, uint64_t, uint8_t, walrus_add64,
                           walrus_direct_alignment, walrus_exchange32, walrus_load32, walrus_store32)
from walrus._trace cimport FAULT_ALIGNMENT, FAULT_DIRECT, fault_take

cdef enum:
    ALIGNMENT_MIN = 512


cdef uint64_t transfer_alignment(Device *device, DeviceFile *file) noexcept nogil:
    return walrus_load32(&device.alignment) if file.direct else 1


cdef bint direct_suits(Device *device, int fd, uint32_t *alignment_known) noexcept nogil:
    """Whether O_DIRECT works with what callers align to; notes the alignment."""
    cdef int alignment = -1
    if not WALRUS_DEBUG or fault_take(FAULT_ALIGNMENT) == 0:
        alignment = walrus_direct_alignment(fd)
    if alignment == 0 or alignment > TRANSFER_ALIGNMENT_MAX:
        return False
    if alignment < 0:
        alignment = TRANSFER_ALIGNMENT_MAX
    elif alignment < ALIGNMENT_MIN:
        alignment = ALIGNMENT_MIN
    if not walrus_exchange32(alignment_known, 1) or walrus_load32(&device.alignment) < <uint32_t>alignment:
        walrus_store32(&device.alignment, <uint32_t>alignment)
    return True


cdef int open_once(Device *device, const char *name, int flags, bint *direct,
                   uint32_t *alignment_known) noexcept nogil:
    """With O_DIRECT if *direct and if that is to be had; *direct says which it became."""
    cdef int fd, code
    cdef bint wanted = direct[0]
    direct[0] = False
    if wanted:
        code = 0
        if WALRUS_DEBUG:
            code = -fault_take(FAULT_DIRECT)
        if code == 0:
            fd = openat(device.directory, name, flags | O_DIRECT, 0o644)
            if fd >= 0 and direct_suits(device, fd, alignment_known):
                direct[0] = True
                return fd
            code = errno if fd < 0 else EINVAL
            if fd >= 0:
                close(fd)
            flags &= ~O_EXCL        # made a moment ago, by us
        if code != EINVAL:
            return -code
        device.direct_refused = True
    fd = openat(device.directory, name, flags, 0o644)
    return fd if fd >= 0 else -errno


cdef int transfer_open(Device *device, const char *name, int flags, bint *direct, bint *made,
                       uint32_t *alignment_known) noexcept nogil:
    cdef int base = O_CLOEXEC | (O_RDONLY if flags & FILE_READ_ONLY else O_RDWR)
    cdef bint wanted = direct[0]
    cdef int fd
    made[0] = False
    if flags & FILE_CREATE:
        fd = open_once(device, name, base | O_CREAT | O_EXCL, direct, alignment_known)
        if fd != -EEXIST or flags & FILE_EXCLUSIVE:
            made[0] = fd >= 0
            return fd
        direct[0] = wanted
    return open_once(device, name, base, direct, alignment_known)


cdef int transfer_put(Device *device, DeviceFile *file, const uint8_t *data, uint64_t bytes, uint64_t position,
                      uint64_t limit) noexcept nogil:
    """All of it, by memcpy or by pwrites. The first one writes at most `limit`."""
    cdef uint64_t done = 0, alignment = transfer_alignment(device, file)
    cdef ssize_t wrote
    if file.map != NULL and position <= file.map_bytes and bytes <= file.map_bytes - position:
        memcpy(file.map + position, data, bytes)
        return 0
    while done < bytes:
        wrote = pwrite(file.fd, data + done, bytes - done if bytes - done < limit else limit, <int64_t>(position + done))
        if wrote < 0:
            if errno == EINTR:
                continue
            return -errno
        if <uint64_t>wrote < bytes - done:
            walrus_add64(&device.stats.short_transfers, 1)
            wrote -= <ssize_t>(<uint64_t>wrote % alignment)
        if wrote == 0:
            return -EIO
        done += <uint64_t>wrote
        limit = bytes
    return 0


cdef int64_t transfer_get(Device *device, DeviceFile *file, uint8_t *buffer, uint64_t bytes, uint64_t position,
                          uint64_t limit) noexcept nogil:
    cdef uint64_t done = 0, alignment = transfer_alignment(device, file)
    cdef ssize_t got
    while done < bytes:
        got = pread(file.fd, buffer + done, bytes - done if bytes - done < limit else limit, <int64_t>(position + done))
        if got < 0:
            if errno == EINTR:
                continue
            return -errno
        done += <uint64_t>got
        if got == 0 or done % alignment:
            break                   # the file's end; with O_DIRECT only that is not aligned
        if done < bytes:
            walrus_add64(&device.stats.short_transfers, 1)
        limit = bytes
    return <int64_t>done
