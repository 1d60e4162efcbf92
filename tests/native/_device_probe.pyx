# cython: language_level=3
"""Test-only window on the device layer, which has no Python face: a thin shell over what walrus/_device.pxd declares.

Compiled on demand by device_build.py against the importable walrus package. Results are what the functions give: negative errnos.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport munmap
from posix.stdlib cimport posix_memalign
from walrus._device cimport (DEVICE_AUTO, DEVICE_MMAP, DEVICE_PWRITE, DEVICE_URING, FILE_BUFFERED, FILE_CREATE, FILE_EXCLUSIVE,
                             FILE_MAP, FILE_READ_ONLY, Completion, Device, DeviceFile, ReadRange, device_close, device_flush,
                             device_forked, device_map, device_open, device_queue_write, device_read, device_read_many,
                             device_reap, device_rename, device_start, device_stop, device_submit, device_sync_directory,
                             device_unlink, device_wake, device_write, file_allocate, file_close, file_drop_cache, file_open,
                             file_punch, file_write_through)
from walrus._ring cimport Ring
from walrus._trace cimport trace_set_faults

from walrus import _trace as trace_module

DEBUG = trace_module.DEBUG
AUTO, URING, PWRITE, MMAP = DEVICE_AUTO, DEVICE_URING, DEVICE_PWRITE, DEVICE_MMAP
CREATE, EXCLUSIVE, READ_ONLY, MAP, BUFFERED = FILE_CREATE, FILE_EXCLUSIVE, FILE_READ_ONLY, FILE_MAP, FILE_BUFFERED


def set_faults(bytes text):
    return trace_set_faults(text)


cdef class Memory:
    """Aligned memory, given back when nothing refers to it."""
    cdef uint8_t *at
    cdef readonly Py_ssize_t size

    def __cinit__(self, Py_ssize_t size, bytes content=b""):
        if posix_memalign(<void **>&self.at, 4096, size):
            raise MemoryError
        self.size = size
        memset(self.at, 0, size)
        memcpy(self.at, <const char *>content, min(size, len(content)))

    def __dealloc__(self):
        free(self.at)

    def bytes(self, Py_ssize_t begin=0, Py_ssize_t size=-1):
        return self.at[begin:(self.size if size < 0 else begin + size)]


cdef class File:
    cdef DeviceFile file
    cdef Dev device

    @property
    def direct(self):
        return bool(self.file.direct)

    @property
    def mapped(self):
        return self.file.map != NULL

    @property
    def size(self):
        return self.file.size

    def close(self):
        file_close(&self.device.device, &self.file)

    def allocate(self, uint64_t size):
        return file_allocate(&self.device.device, &self.file, size)

    def write_through(self, uint64_t size):
        return file_write_through(&self.device.device, &self.file, size)

    def punch(self, uint64_t position, uint64_t size):
        return file_punch(&self.device.device, &self.file, position, size)

    def drop_cache(self):
        return file_drop_cache(&self.device.device, &self.file)

    def write(self, bytes data, uint64_t position):
        cdef Memory memory = Memory(max(len(data), 1), data)
        cdef uint64_t size = len(data)
        cdef int result
        with nogil:
            result = device_write(&self.device.device, &self.file, memory.at, size, position)
        return result

    def flush(self):
        cdef int result
        with nogil:
            result = device_flush(&self.device.device, &self.file)
        return result

    def read(self, uint64_t size, uint64_t position):
        cdef Memory memory = Memory(max(size, 1))
        cdef int64_t result
        with nogil:
            result = device_read(&self.device.device, &self.file, memory.at, size, position)
        return memory.at[:result] if result >= 0 else result

    def map_and_compare(self, uint64_t size, uint64_t reserve, bytes expected):
        """Whether the mapping shows `expected`, or a negative errno."""
        cdef uint8_t *memory = NULL
        cdef int result = device_map(&self.device.device, &self.file, size, reserve, True, &memory)
        if result < 0:
            return result
        same = memcmp(memory, <const char *>expected, len(expected)) == 0
        munmap(memory, reserve)
        return same


cdef class Dev:
    cdef Device device
    cdef public list kept           # memory of writes on their way

    def __init__(self, int directory, int way, int lock_fd=-1):
        self.kept = []
        result = device_open(&self.device, directory, lock_fd, way)
        if result < 0:
            raise OSError(-result, "device_open")

    def start(self):
        return device_start(&self.device)

    def stop(self):
        with nogil:
            device_stop(&self.device)

    def close(self):
        with nogil:
            device_close(&self.device)

    def forked(self):
        device_forked(&self.device)

    @property
    def way(self):
        return self.device.way

    @property
    def fallback_errno(self):
        return self.device.fallback_errno

    @property
    def direct_refused(self):
        return bool(self.device.direct_refused)

    @property
    def alignment(self):
        return self.device.alignment

    @property
    def in_flight(self):
        return self.device.in_flight

    @property
    def wake_fd(self):
        return self.device.wake_fd

    @property
    def ring_flags(self):
        return (<Ring *>self.device.ring).flags if self.device.ring != NULL else None

    @property
    def ring_fd(self):
        return (<Ring *>self.device.ring).uring.ring_fd if self.device.ring != NULL else -1

    @property
    def stats(self):
        return self.device.stats

    def open(self, bytes name, int flags):
        """A File, or a negative errno."""
        cdef File file = File()
        file.device = self
        result = file_open(&self.device, &file.file, name, flags)
        return file if result >= 0 else result

    def rename(self, bytes old, bytes new):
        return device_rename(&self.device, old, new)

    def unlink(self, bytes name):
        return device_unlink(&self.device, name)

    def sync_directory(self):
        return device_sync_directory(&self.device)

    def queue(self, File file, Memory memory, uint64_t position, uint64_t tag):
        self.kept.append(memory)
        return device_queue_write(&self.device, &file.file, memory.at, memory.size, position, tag)

    def submit(self):
        return device_submit(&self.device)

    def reap(self, int64_t timeout_ns):
        """Dictionary of tag to result, or a negative errno."""
        cdef Completion completions[64]
        cdef int n
        with nogil:
            n = device_reap(&self.device, completions, 64, timeout_ns)
        return {completions[i].tag: completions[i].result for i in range(n)} if n >= 0 else n

    def wake(self):
        with nogil:
            device_wake(&self.device)

    def read_many(self, list wanted):
        """[(file, size, position)] to the bytes read, or negative errnos, in the same order."""
        cdef uint32_t count = len(wanted)
        cdef ReadRange *ranges = <ReadRange *>calloc(count, sizeof(ReadRange))
        cdef list memory = [Memory(max(size, 1)) for _, size, _ in wanted]
        for i in range(count):
            ranges[i].source = &(<File>wanted[i][0]).file
            ranges[i].buffer = (<Memory>memory[i]).at
            ranges[i].bytes = wanted[i][1]
            ranges[i].position = wanted[i][2]
        with nogil:
            device_read_many(&self.device, ranges, count)
        results = [ranges[i].result for i in range(count)]
        free(ranges)
        return [m.bytes(0, r) if r >= 0 else r for m, r in zip(memory, results)]

    def wait_for_pings(self, uint64_t[:] word, uint64_t rounds, int64_t timeout_ns):
        """An I/O thread in small: consumes until `rounds` are in word[0]; how many sleeps ran into the time-out."""
        cdef Completion completions[4]
        cdef uint64_t seen = 0, expired = 0
        cdef uint64_t *at = &word[0]
        with nogil:
            device_start(&self.device)
            while seen < rounds:
                seen = (<volatile_word *>at)[0]
                (<volatile_word *>(at + 1))[0] = seen
                if seen < rounds:
                    if timed_reap(&self.device, completions, timeout_ns):
                        expired += 1
        return expired

    def ping(self, uint64_t[:] word, uint64_t rounds):
        """Raises word[0] and wakes, waiting each time (mostly) until that was seen."""
        cdef uint64_t i
        cdef uint64_t *at = &word[0]
        with nogil:
            for i in range(1, rounds + 1):
                (<volatile_word *>at)[0] = i
                device_wake(&self.device)
                if i % 4:
                    while (<volatile_word *>(at + 1))[0] < i:
                        pass


cdef extern from *:
    """
    typedef volatile uint64_t volatile_word;
    #include <time.h>
    static double walrus_probe_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec + t.tv_nsec * 1e-9;
    }
    """
    ctypedef uint64_t volatile_word
    double walrus_probe_now() nogil


cdef bint timed_reap(Device *device, Completion *completions, int64_t timeout_ns) noexcept nogil:
    cdef double began = walrus_probe_now()
    device_reap(device, completions, 4, timeout_ns)
    return walrus_probe_now() - began > timeout_ns * 0.9e-9
