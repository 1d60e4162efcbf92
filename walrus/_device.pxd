"""Devices: files written by io_uring with O_DIRECT, by pwrite, or through a mapping; one interface, one trace, one fault seam.

Layer: devices. A failure is a negative errno; nothing raises, nothing takes the GIL. What changes the disk in this project
goes through here (staging and control tables apart, which are stores into mappings made by device_map), so the trace of the
debug build sees all of it.
"""
from walrus._libc cimport int64_t, uint8_t, uint32_t, uint64_t
from walrus._device_types cimport (DEVICE_AUTO, DEVICE_BATCH_MAX, DEVICE_MMAP, DEVICE_NAME_BYTES, DEVICE_PWRITE,
                                   DEVICE_QUEUE_DEPTH, DEVICE_URING, FILE_BUFFERED, FILE_CREATE, FILE_EXCLUSIVE, FILE_MAP,
                                   FILE_READ_ONLY, Completion, Device, DeviceFile, DeviceStats, ReadRange)

# Opens `directory` (an fd that the device does not own). `lock_fd` is registered with the ring, so that the lock outlives a
# killed process until its writes have landed. DEVICE_AUTO and DEVICE_URING fall back to DEVICE_PWRITE where io_uring is refused
# (fallback_errno says why). WALRUS_DISABLE_IO_URING is the caller's business. The ring is made by device_start.
cdef int device_open(Device *device, int directory, int lock_fd, int way) noexcept nogil
# Called by the I/O thread before any submit: makes the ring (SINGLE_ISSUER, with fallbacks to older kernels).
cdef int device_start(Device *device) noexcept nogil
# I/O thread: waits for what is in flight, gives the ring back. Then device_close gives the rest back.
cdef void device_stop(Device *device) noexcept nogil
cdef void device_close(Device *device) noexcept nogil
# In a fork's child: closes descriptors of rings and wake_fd without touching the rings.
cdef void device_forked(Device *device) noexcept nogil

# -- files; any thread
cdef int file_open(Device *device, DeviceFile *file, const char *name, int flags) noexcept nogil
cdef void file_close(Device *device, DeviceFile *file) noexcept nogil
# Real blocks for [0, size): fallocate, and where a file system has none, zeros are written. Sets file.size, remaps.
# -ENOSPC leaves a file that was there as it was.
cdef int file_allocate(Device *device, DeviceFile *file, uint64_t size) noexcept nogil
# Written through once with zeros and flushed, so that later overwrites change no metadata.
cdef int file_write_through(Device *device, DeviceFile *file, uint64_t size) noexcept nogil
cdef int file_punch(Device *device, DeviceFile *file, uint64_t position, uint64_t bytes) noexcept nogil
cdef int file_drop_cache(Device *device, DeviceFile *file) noexcept nogil
cdef int device_rename(Device *device, const char *old, const char *new) noexcept nogil
cdef int device_unlink(Device *device, const char *name) noexcept nogil
cdef int device_sync_directory(Device *device) noexcept nogil

# -- blocking; any thread; aligned (BLOCK_BYTES) memory, sizes and positions. Short transfers are continued, EINTR is retried.
cdef int device_write(Device *device, DeviceFile *file, const void *data, uint64_t bytes, uint64_t position) noexcept nogil
cdef int device_flush(Device *device, DeviceFile *file) noexcept nogil
# Bytes read (short only at the file's end) or a negative errno.
cdef int64_t device_read(Device *device, DeviceFile *file, void *buffer, uint64_t bytes, uint64_t position) noexcept nogil
# Many ranges: one submission per DEVICE_BATCH_MAX where a ring is to be had, else preads. 0; each range has its result.
cdef int device_read_many(Device *device, ReadRange *ranges, uint32_t count) noexcept nogil

# -- reads that nobody waits for; one thread at a time. How many, from the first, are on their way: none where no ring is to be had.
# Their memory belongs to the kernel until device_read_reap has given the tag back.
cdef uint32_t device_read_begin(Device *device, ReadRange *ranges, uint32_t count) noexcept nogil
# Those that ended, at most `room`; with `wait` at least one, and 0 only if the kernel has none of them any more: what is still
# missing then was dropped.
cdef uint32_t device_read_reap(Device *device, Completion *completions, uint32_t room, bint wait) noexcept nogil

# -- not blocking; the I/O thread only. `tag` comes back in a Completion. Queued until device_submit.
cdef int device_queue_write(Device *device, DeviceFile *file, const void *data, uint64_t bytes, uint64_t position,
                            uint64_t tag) noexcept nogil
cdef int device_submit(Device *device) noexcept nogil
# Completions (each write whole, or failed), at most `room`; waits up to timeout_ns (0: not at all; -1: for ever) for the first,
# or for device_wake. 0 on time-out or wake.
cdef int device_reap(Device *device, Completion *completions, uint32_t room, int64_t timeout_ns) noexcept nogil
# Wakes the I/O thread out of device_reap; one system call, and none while it is not asleep. Any thread.
cdef void device_wake(Device *device) noexcept nogil

# Mapped files of staging and control: read by pread first (an I/O error is an errno, not a SIGBUS), then mapped shared.
# reserve_bytes >= bytes of address space are mapped, so that the file can grow under the mapping.
cdef int device_map(Device *device, DeviceFile *file, uint64_t bytes, uint64_t reserve_bytes, bint populate,
                    uint8_t **memory) noexcept nogil
