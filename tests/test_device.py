"""The device layer: three ways to the disk that do the same, what it says when something is refused, the trace, the faults."""
import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path

import pytest

from tests import trace
from tests.native.device_build import load_device_probe

BLOCK = 4096
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def probe():
    return load_device_probe()


@pytest.fixture(params=["URING", "PWRITE", "MMAP"])
def way(request, probe):
    return getattr(probe, request.param)


@pytest.fixture
def debug(probe):
    """Only where there are faults; leaves none behind."""
    if not probe.DEBUG:
        pytest.skip("needs the debug build")
    yield
    probe.set_faults(b"")


@pytest.fixture
def opened(probe, tmp_path):
    """Makes started devices on tmp_path, and closes them."""
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    devices = []

    def make(way, lock_fd=-1):
        device = probe.Dev(directory, way, lock_fd)
        devices.append(device)
        assert device.start() == 0
        return device

    yield make
    for device in devices:
        device.close()
    os.close(directory)


def log_file(probe, device, size, name=b"log"):
    file = device.open(name, probe.CREATE | probe.MAP)
    assert not isinstance(file, int), os.strerror(-file)
    assert file.allocate(size) == 0
    return file


def reap_all(device, count):
    results = {}
    while len(results) < count:
        some = device.reap(5 * SECOND)
        assert some, "nothing completed in 5 s"
        results.update(some)
    return results


# ------------------------------------------------------------------------------------------------------- the three ways

def test_queued_writes_complete_and_read_back(probe, opened, way):
    device = opened(way)
    if way == probe.URING and device.way != probe.URING:
        pytest.skip("no io_uring here")
    file = log_file(probe, device, 64 * BLOCK)
    wanted = random.Random(1).randbytes(64 * BLOCK)
    for i in range(16):
        memory = probe.Memory(4 * BLOCK, wanted[i * 4 * BLOCK:(i + 1) * 4 * BLOCK])
        assert device.queue(file, memory, i * 4 * BLOCK, 100 + i) == 0
    assert device.in_flight == 16
    assert device.submit() == 0
    assert reap_all(device, 16) == {100 + i: 4 * BLOCK for i in range(16)}
    assert device.in_flight == 0
    assert file.flush() == 0
    assert file.read(64 * BLOCK, 0) == wanted
    assert file.mapped == (way == probe.MMAP)
    stats = device.stats
    assert (stats["writes"], stats["written_bytes"], stats["flushes"]) == (16, 64 * BLOCK, 1)
    assert stats["direct_bytes"] == (64 * BLOCK if file.direct else 0)
    file.close()


def test_blocking_writes_read_back_and_survive_reopening(probe, opened, way, tmp_path):
    device = opened(way)
    file = log_file(probe, device, 8 * BLOCK)
    wanted = random.Random(2).randbytes(2 * BLOCK)
    assert file.write(wanted, 3 * BLOCK) == 0
    assert file.flush() == 0
    file.close()
    assert (tmp_path / "log").read_bytes() == bytes(3 * BLOCK) + wanted + bytes(3 * BLOCK)


def test_a_read_is_short_only_at_the_end(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, 2 * BLOCK)
    assert file.write(b"x" * 2 * BLOCK, 0) == 0
    assert file.read(4 * BLOCK, BLOCK) == b"x" * BLOCK
    assert file.read(BLOCK, 2 * BLOCK) == b""
    assert device.read_many([(file, 4 * BLOCK, BLOCK), (file, BLOCK, 2 * BLOCK), (file, 0, 0)]) == [b"x" * BLOCK, b"", b""]
    file.close()


def test_2000_scattered_reads_are_one_submission(probe, opened):
    device = opened(probe.URING)
    if device.way != probe.URING:
        pytest.skip("no io_uring here")
    file = log_file(probe, device, 2000 * BLOCK)
    wanted = random.Random(3).randbytes(2000 * BLOCK)
    assert file.write(wanted, 0) == 0
    places = [i * BLOCK for i in range(2000)]
    random.Random(4).shuffle(places)
    before = device.stats["submissions"]
    results = device.read_many([(file, BLOCK, place) for place in places])
    assert all(result == wanted[place:place + BLOCK] for result, place in zip(results, places, strict=True))
    assert device.stats["submitted_max"] == 2000
    assert device.stats["submissions"] - before == 1
    assert device.stats["reads"] == 2000
    assert device.read_many([(file, BLOCK, place) for place in places + places[:500]]) == results + results[:500]
    assert device.stats["submissions"] - before == 3
    file.close()


def test_read_many_without_a_ring(probe, opened):
    device = opened(probe.PWRITE)
    file = log_file(probe, device, 8 * BLOCK)
    assert file.write(b"".join(bytes([i]) * BLOCK for i in range(8)), 0) == 0
    assert device.read_many([(file, BLOCK, i * BLOCK) for i in (5, 1, 7)]) == [bytes([i]) * BLOCK for i in (5, 1, 7)]
    assert device.stats["submissions"] == 0
    file.close()


def test_an_error_of_a_queued_write_is_its_completion(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, BLOCK, b"ro")
    file.close()
    file = device.open(b"ro", probe.READ_ONLY | probe.BUFFERED)
    assert device.queue(file, probe.Memory(BLOCK), 0, 7) == 0
    assert device.submit() == 0
    assert reap_all(device, 1) == {7: -errno.EBADF}
    file.close()


def test_more_writes_than_the_queue_holds_are_refused(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, BLOCK)
    memory = probe.Memory(BLOCK)
    for i in range(2048):
        assert device.queue(file, memory, 0, i) == 0
    assert device.queue(file, memory, 0, 2048) == -errno.EBUSY
    assert device.submit() == 0
    assert len(reap_all(device, 2048)) == 2048
    assert device.queue(file, memory, 0, 1) == 0
    assert device.submit() == 0
    assert reap_all(device, 1) == {1: BLOCK}
    file.close()


# ----------------------------------------------------------------------------------------------------- sleeping and waking

def test_reap_waits_as_long_as_it_is_told(opened, way):
    device = opened(way)
    began = time.monotonic()
    assert device.reap(0) == {}
    assert time.monotonic() - began < 0.05
    began = time.monotonic()
    assert device.reap(SECOND // 20) == {}
    assert 0.045 < time.monotonic() - began < 1


def test_a_wake_before_the_sleep_is_not_lost_and_counts_once(opened, way):
    device = opened(way)
    device.wake()
    device.wake()
    began = time.monotonic()
    assert device.reap(5 * SECOND) == {}
    assert time.monotonic() - began < 1
    assert device.stats["waits"] == 0               # and it took no sleep, so no system call, to tell
    assert device.reap(SECOND // 50) == {}
    assert device.stats["waits"] >= 1


def test_a_wake_ends_the_sleep(opened, way):
    device = opened(way)
    for _ in range(3):
        timer = threading.Timer(0.05, device.wake)
        timer.start()
        began = time.monotonic()
        assert device.reap(-1) == {}
        assert 0.02 < time.monotonic() - began < 2
        timer.join()


def test_no_wake_is_lost_in_200000(probe, way):
    descriptor = os.open(".", os.O_RDONLY)
    device = probe.Dev(descriptor, way)
    word, expired = array("Q", [0, 0]), []
    thread = threading.Thread(target=lambda: (expired.append(device.wait_for_pings(word, 200_000, SECOND)), device.stop()))
    thread.start()
    device.ping(word, 200_000)
    thread.join(60)
    assert not thread.is_alive()
    assert expired == [0]
    device.close()
    os.close(descriptor)


# --------------------------------------------------------------------------------------------------------------- files

def test_create_and_exclusive(probe, opened):
    device = opened(probe.PWRITE)
    assert device.open(b"a", 0) == -errno.ENOENT
    device.open(b"a", probe.CREATE).close()
    assert device.open(b"a", probe.CREATE | probe.EXCLUSIVE) == -errno.EEXIST
    device.open(b"a", probe.CREATE).close()
    assert device.rename(b"a", b"b") == 0
    assert device.sync_directory() == 0
    assert device.open(b"a", 0) == -errno.ENOENT
    assert device.unlink(b"b") == 0
    assert device.unlink(b"b") == -errno.ENOENT


def test_buffered_files_take_any_size(probe, opened, way):
    device = opened(way)
    file = device.open(b"small", probe.CREATE | probe.BUFFERED)
    assert not file.direct and not file.mapped
    assert file.write(b"hello", 3) == 0
    assert file.read(100, 0) == b"\0\0\0hello"
    file.close()


def test_write_through_leaves_real_zeros(probe, opened, way, tmp_path):
    device = opened(way)
    file = device.open(b"journal", probe.CREATE)
    assert file.write_through(3 << 20) == 0
    assert file.size == 3 << 20
    assert os.stat(tmp_path / "journal").st_blocks * 512 >= 3 << 20
    assert (tmp_path / "journal").read_bytes() == bytes(3 << 20)
    file.close()


def test_allocation_grows_and_never_shrinks(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    assert file.write(b"a" * 4 * BLOCK, 0) == 0
    assert file.allocate(8 * BLOCK) == 0
    assert file.write(b"b" * BLOCK, 7 * BLOCK) == 0
    assert file.allocate(BLOCK) == 0
    assert file.size == 8 * BLOCK
    assert file.read(8 * BLOCK, 0) == b"a" * 4 * BLOCK + bytes(3 * BLOCK) + b"b" * BLOCK
    file.close()


def test_a_failed_allocation_leaves_the_file(probe, opened, tmp_path):
    # By a limit of the process: filling the disk, if only for a moment, would fail whatever else runs on the machine.
    device = opened(probe.PWRITE)
    file = log_file(probe, device, 2 * BLOCK)
    assert file.write(b"a" * 2 * BLOCK, 0) == 0
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * BLOCK, before[1]))
    try:
        assert file.allocate(16 * BLOCK) == -errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.size == 2 * BLOCK
    assert (tmp_path / "log").read_bytes() == b"a" * 2 * BLOCK
    file.close()


def test_punching_reads_as_zeros(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    assert file.write(b"a" * 4 * BLOCK, 0) == 0
    result = file.punch(BLOCK, BLOCK)
    if result == -errno.EOPNOTSUPP:
        pytest.skip("no holes on this file system")
    assert result == 0
    assert file.drop_cache() == 0
    assert file.read(4 * BLOCK, 0) == b"a" * BLOCK + bytes(BLOCK) + b"a" * 2 * BLOCK
    file.close()


def test_a_mapping_shows_the_file(probe, opened):
    device = opened(probe.PWRITE)
    file = device.open(b"staging", probe.CREATE | probe.BUFFERED)
    assert file.allocate(4 * BLOCK) == 0
    assert file.write(b"s" * BLOCK, BLOCK) == 0
    assert file.map_and_compare(4 * BLOCK, 64 * BLOCK, bytes(BLOCK) + b"s" * BLOCK) is True
    assert file.map_and_compare(4 * BLOCK, BLOCK, b"") == -errno.EINVAL
    file.close()
    file = device.open(b"staging", probe.READ_ONLY | probe.BUFFERED)
    assert file.map_and_compare(4 * BLOCK, 4 * BLOCK, bytes(BLOCK) + b"s" * BLOCK) is True
    file.close()


# ------------------------------------------------------------------------------------------------ refusals and fallbacks

ROOT = Path(__file__).parents[1]
HEAD = f"import sys; sys.path.append({str(ROOT)!r})\n"

REFUSED = """
import os, sys
from tests.native.device_build import load_device_probe
probe = load_device_probe()
device = probe.Dev(os.open(sys.argv[1], os.O_RDONLY), probe.AUTO)
assert device.start() == 0
assert device.way == probe.PWRITE, device.way
file = device.open(b"log", probe.CREATE | probe.MAP)
assert file.allocate(8192) == 0
assert device.queue(file, probe.Memory(4096, b"x" * 4096), 4096, 5) == 0
assert device.submit() == 0 and device.reap(0) == {5: 4096}
assert device.read_many([(file, 4096, 4096), (file, 4096, 0)]) == [b"x" * 4096, bytes(4096)]
print(device.fallback_errno)
"""


def test_a_refused_ring_falls_back_to_pwrite_and_says_why(probe, tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "seccomp.py"), "--", sys.executable, "-c", HEAD + REFUSED, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == errno.EPERM


@pytest.mark.parametrize("refused", range(4))
def test_older_kernels_get_older_flags(probe, opened, debug, refused):
    assert probe.set_faults(",".join(f"ring:{n}:EINVAL" for n in range(1, refused + 1)).encode()) == 0
    device = opened(probe.URING)
    assert device.way == probe.URING
    single, cooperative, deferred = 1 << 12, 1 << 8, 1 << 13
    expected = (single | deferred, single | cooperative, cooperative, 0)[refused]
    assert device.ring_flags & (single | cooperative | deferred) == expected
    file = log_file(probe, device, 2 * BLOCK)
    assert device.queue(file, probe.Memory(BLOCK, b"k" * BLOCK), BLOCK, 1) == 0
    assert device.submit() == 0
    assert reap_all(device, 1) == {1: BLOCK}
    device.wake()
    assert device.reap(-1) == {}
    threading.Timer(0.03, device.wake).start()
    assert device.reap(-1) == {}
    assert device.read_many([(file, BLOCK, BLOCK), (file, BLOCK, 0)]) == [b"k" * BLOCK, bytes(BLOCK)]
    file.close()


def test_no_ring_at_all_falls_back(probe, opened, debug):
    assert probe.set_faults(b"ring:1:ENOMEM:always") == 0
    device = opened(probe.AUTO)
    assert (device.way, device.fallback_errno) == (probe.PWRITE, errno.ENOMEM)


def test_a_ring_of_fewer_entries_where_memory_is_scarce(probe, opened, debug):
    assert probe.set_faults(b"ring:1:ENOMEM,ring:2:ENOMEM") == 0
    device = opened(probe.AUTO)
    assert device.way == probe.URING
    file = log_file(probe, device, BLOCK)
    memory = probe.Memory(BLOCK)
    queued = 0
    while device.queue(file, memory, 0, queued) == 0:
        queued += 1
    assert queued == 512
    assert device.submit() == 0
    assert len(reap_all(device, queued)) == queued
    file.close()


def test_refused_o_direct_is_told(probe, opened, debug):
    assert probe.set_faults(b"direct:1:EINVAL") == 0
    device = opened(probe.URING)
    file = device.open(b"a", probe.CREATE)
    assert not file.direct and device.direct_refused
    assert file.write(b"12345", 0) == 0
    file.close()


def test_an_unknown_alignment_is_taken_as_4096(probe, opened, debug):
    assert probe.set_faults(b"alignment:1:EINVAL") == 0
    device = opened(probe.URING)
    file = device.open(b"a", probe.CREATE)
    assert device.alignment == 4096
    file.close()


# -------------------------------------------------------------------------------------------------------------- faults

@pytest.mark.parametrize("fault", [b"write:1:short", b"complete:1:short", b"complete:1:EAGAIN", b"complete:2:EINTR",
                                   b"submit:1:EAGAIN"])
def test_short_and_interrupted_writes_go_on_unseen(probe, opened, debug, way, fault):
    device = opened(way)
    file = log_file(probe, device, 16 * BLOCK)
    wanted = random.Random(5).randbytes(16 * BLOCK)
    assert probe.set_faults(fault) == 0
    for i in range(2):
        assert device.queue(file, probe.Memory(8 * BLOCK, wanted[i * 8 * BLOCK:(i + 1) * 8 * BLOCK]), i * 8 * BLOCK, i) == 0
    assert device.submit() == 0
    assert reap_all(device, 2) == {0: 8 * BLOCK, 1: 8 * BLOCK}
    if fault.endswith(b"short") and way == probe.URING:
        assert device.stats["short_transfers"] == 1
    assert file.read(16 * BLOCK, 0) == wanted
    file.close()


def test_short_blocking_transfers_go_on(probe, opened, debug, way):
    device = opened(way)
    file = log_file(probe, device, 8 * BLOCK)
    wanted = random.Random(6).randbytes(8 * BLOCK)
    assert probe.set_faults(b"write:1:short,read:1:short,read:2:short") == 0
    assert file.write(wanted, 0) == 0
    assert file.read(8 * BLOCK, 0) == wanted
    assert device.read_many([(file, 4 * BLOCK, 0), (file, 4 * BLOCK, 4 * BLOCK)]) == [wanted[:4 * BLOCK], wanted[4 * BLOCK:]]
    assert device.stats["short_transfers"] == (2 if way == probe.MMAP else 3)
    file.close()


@pytest.mark.parametrize("kind", ["write", "complete"])
def test_the_nth_queued_write_fails_alone(probe, opened, debug, way, kind):
    if kind == "complete" and way != probe.URING:
        pytest.skip("only a ring has completions")
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    assert probe.set_faults(f"{kind}:3:EIO".encode()) == 0
    for i in range(4):
        assert device.queue(file, probe.Memory(BLOCK), i * BLOCK, i) == 0
    assert device.submit() == 0
    results = reap_all(device, 4)
    assert sorted(results.values()) == [-errno.EIO, BLOCK, BLOCK, BLOCK]
    if kind == "write":
        assert results[2] == -errno.EIO
    file.close()


def test_a_failed_flush_is_returned_and_not_tried_again(probe, opened, debug, way):
    device = opened(way)
    file = log_file(probe, device, BLOCK)
    assert probe.set_faults(b"flush:2:EIO,flush:4:ENOSPC:always") == 0
    assert [file.flush() for _ in range(6)] == [0, -errno.EIO, 0, -errno.ENOSPC, -errno.ENOSPC, -errno.ENOSPC]
    file.close()


def test_one_range_fails_and_the_others_do_not(probe, opened, debug, way):
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    assert probe.set_faults(b"read:2:EIO") == 0
    zeros = bytes(BLOCK)
    assert device.read_many([(file, BLOCK, i * BLOCK) for i in range(4)]) == [zeros, -errno.EIO, zeros, zeros]
    file.close()


def test_other_operations_fail_when_told(probe, opened, debug):
    device = opened(probe.PWRITE)
    file = log_file(probe, device, BLOCK)
    faults = b"open:1:EMFILE,allocate:1:ENOSPC,punch:1:EIO,rename:1:EIO,unlink:1:EROFS,directory:1:EIO,map:1:ENOMEM"
    assert probe.set_faults(faults) == 0
    assert device.open(b"x", probe.CREATE) == -errno.EMFILE
    assert file.allocate(4 * BLOCK) == -errno.ENOSPC and file.size == BLOCK
    assert file.punch(0, BLOCK) == -errno.EIO
    assert device.rename(b"log", b"other") == -errno.EIO
    assert device.unlink(b"log") == -errno.EROFS
    assert device.sync_directory() == -errno.EIO
    assert file.map_and_compare(BLOCK, BLOCK, b"") == -errno.ENOMEM
    assert file.read(BLOCK, 0) == bytes(BLOCK)
    file.close()


def test_no_fallocate_means_zeros_are_written(probe, opened, debug, way, tmp_path):
    device = opened(way)
    file = device.open(b"log", probe.CREATE | probe.MAP)
    assert probe.set_faults(b"allocate:1:EOPNOTSUPP,allocate:2:EOPNOTSUPP") == 0
    assert file.allocate((2 << 20) + BLOCK) == 0
    assert file.write(b"z" * BLOCK, 0) == 0
    assert file.allocate(3 << 20) == 0
    assert (tmp_path / "log").read_bytes() == b"z" * BLOCK + bytes((3 << 20) - BLOCK)
    assert os.stat(tmp_path / "log").st_blocks * 512 >= 3 << 20
    file.close()


def test_a_full_disk_during_writing_zeros_leaves_the_file(probe, opened, debug, tmp_path):
    device = opened(probe.PWRITE)
    file = log_file(probe, device, BLOCK)
    assert probe.set_faults(b"allocate:1:EOPNOTSUPP,write:3:ENOSPC") == 0
    assert file.allocate(8 << 20) == -errno.ENOSPC
    assert os.stat(tmp_path / "log").st_size == BLOCK == file.size
    file.close()


def test_a_dead_ring_of_readers_is_replaced_by_preads(probe, opened, debug):
    device = opened(probe.URING)
    file = log_file(probe, device, 4 * BLOCK)
    assert file.write(b"r" * 4 * BLOCK, 0) == 0
    assert probe.set_faults(b"submit:1:EIO") == 0
    for _ in range(2):
        assert device.read_many([(file, BLOCK, i * BLOCK) for i in range(4)]) == [b"r" * BLOCK] * 4
    file.close()


def test_a_failed_submission_is_told_and_the_thread_can_still_sleep_wake_and_stop(probe, opened, debug):
    device = opened(probe.URING)
    file = log_file(probe, device, 4 * BLOCK)
    assert device.queue(file, probe.Memory(BLOCK), 0, 1) == 0
    assert probe.set_faults(b"submit:1:EIO") == 0
    assert device.submit() == -errno.EIO
    assert device.queue(file, probe.Memory(BLOCK), 0, 2) == -errno.EIO
    began = time.monotonic()
    assert device.reap(SECOND // 20) == {}
    assert time.monotonic() - began > 0.04          # it does not spin
    threading.Timer(0.05, device.wake).start()
    assert device.reap(-1) == {}
    device.stop()
    file.close()


def test_faults_that_are_not_understood_are_refused(probe, debug):
    for text in (b"write", b"write:0:EIO", b"wrong:1:EIO", b"write:1:EWHAT", b"write:1:EIO:never", b"write:x:EIO"):
        assert probe.set_faults(text) == -errno.EINVAL
    assert probe.set_faults(b"write:1:5,read:2:short:always") == 0


# --------------------------------------------------------------------------------------------------------------- trace

def test_the_trace_tells_every_operation_in_order(probe, opened, debug, way, tmp_path, monkeypatch):
    path = tmp_path / "trace"
    monkeypatch.setenv("WALRUS_TRACE", str(path))
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    trace.mark(fd, b"before")
    data = random.Random(7).randbytes(BLOCK)
    assert device.queue(file, probe.Memory(BLOCK, data), BLOCK, 1) == 0
    assert device.submit() == 0
    reap_all(device, 1)
    trace.mark(fd, b"after")
    os.close(fd)
    assert file.flush() == 0
    assert file.punch(0, BLOCK) == 0
    probe.set_faults(b"flush:1:EIO")
    assert file.flush() == -errno.EIO
    assert device.rename(b"log", b"old") == 0
    assert device.sync_directory() == 0
    file.close()
    device.open(b"old", probe.READ_ONLY).close()
    assert device.unlink(b"old") == 0
    records = trace.read(path)
    assert [r.op for r in records] == [
        "OPEN_LOG", "CREATE", "ALLOCATE", "MARK", "WRITE_BEGIN", "WRITE_END", "MARK", "FLUSH_BEGIN", "FLUSH_END", "PUNCH",
        "FLUSH_BEGIN", "FLUSH_END", "RENAME", "SYNC_DIRECTORY_BEGIN", "SYNC_DIRECTORY_END", "OPEN", "UNLINK"]
    created, allocated, begin, end, renamed = records[1], records[2], records[4], records[5], records[12]
    assert (records[0].position, created.name, records[3].data, records[6].data) == (os.getpid(), "log", b"before", b"after")
    assert (allocated.file, allocated.position, allocated.bytes) == (created.file, 0, 4 * BLOCK)
    assert (begin.file, begin.position, begin.bytes, begin.data) == (created.file, BLOCK, BLOCK, data)
    assert (end.sequence, end.result) == (begin.sequence, 0)
    assert (records[11].sequence, records[11].result) == (records[10].sequence, -errno.EIO)
    assert renamed.name == "log\0old"
    assert (records[15].name, records[15].bytes) == ("old", 4 * BLOCK) and records[15].file != created.file


def test_numbers_go_on_in_a_trace_that_a_later_process_continues(probe, debug, tmp_path):
    code = (f"import os, sys; sys.path.append({str(ROOT)!r});"
            "from tests.native.device_build import load_device_probe; probe = load_device_probe();"
            "d = probe.Dev(os.open(sys.argv[1], os.O_RDONLY), probe.PWRITE); f = d.open(b'a', probe.CREATE | probe.BUFFERED);"
            "f.write(b'x', 0)")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True,
                       env={**os.environ, "WALRUS_TRACE": str(tmp_path / "trace"), "WALRUS_FAULT": ""})
    records = trace.read(tmp_path / "trace")
    assert [r.op for r in records] == ["OPEN_LOG", "CREATE", "WRITE_BEGIN", "WRITE_END",
                                       "OPEN_LOG", "OPEN", "WRITE_BEGIN", "WRITE_END"]
    assert records[1].file != records[5].file
    begun = [r.sequence for r in records if not r.op.endswith("_END")]
    assert len(set(begun)) == len(begun)


def test_faults_come_from_the_environment(probe, opened, debug, monkeypatch):
    monkeypatch.setenv("WALRUS_FAULT", "flush:1:EIO")
    file = log_file(probe, opened(probe.PWRITE), BLOCK)
    assert [file.flush(), file.flush()] == [-errno.EIO, 0]
    monkeypatch.delenv("WALRUS_FAULT")
    opened(probe.PWRITE)
    assert file.flush() == 0
    file.close()


# ------------------------------------------------------------------------------------------------------- fork and death

def test_a_forked_child_gives_back_descriptors_and_leaves_the_ring_alone(probe, opened, way):
    device = opened(way)
    file = log_file(probe, device, 4 * BLOCK)
    assert device.queue(file, probe.Memory(BLOCK, b"f" * BLOCK), 0, 1) == 0
    descriptors = [fd for fd in (device.wake_fd, device.ring_fd) if fd >= 0]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            device.forked()
            still = [fd for fd in descriptors if os.path.exists(f"/proc/self/fd/{fd}")]
            device.close()
            code = 0 if not still else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert device.submit() == 0
    assert reap_all(device, 1) == {1: BLOCK}
    assert file.read(BLOCK, 0) == b"f" * BLOCK
    file.close()


KILLED = """
import fcntl, os, signal, sys
from tests.native.device_build import load_device_probe
probe = load_device_probe()
lock = os.open(sys.argv[1] + "/lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
device = probe.Dev(os.open(sys.argv[1], os.O_RDONLY), probe.URING, lock)
assert device.start() == 0 and device.way == probe.URING
file = device.open(b"log", probe.CREATE)
assert file.allocate(64 << 20) == 0
memory = probe.Memory(1 << 20, b"n" * (1 << 20))
for i in range(64):
    assert device.queue(file, memory, i << 20, i) == 0
assert device.submit() == 0
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_lock_outlives_a_killed_process_until_its_writes_have_landed(probe, opened, tmp_path):
    if opened(probe.URING).way != probe.URING:
        pytest.skip("no io_uring here")
    child = subprocess.run([sys.executable, "-c", HEAD + KILLED, str(tmp_path)], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    deadline = time.monotonic() + 20
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            assert time.monotonic() < deadline, "the lock never became free"
            time.sleep(0.001)
    first = (tmp_path / "log").read_bytes()
    time.sleep(0.3)
    assert (tmp_path / "log").read_bytes() == first
    os.close(lock)


def test_closing_gives_all_descriptors_back(probe, tmp_path, way):
    directory = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        device = probe.Dev(directory, way)
        assert device.start() == 0
        file = log_file(probe, device, 4 * BLOCK)
        assert device.queue(file, probe.Memory(BLOCK), 0, 1) == 0
        assert device.submit() == 0
        device.reap(SECOND // 1000)
        device.read_many([(file, BLOCK, 0)] * 3)
        file.close()
        device.close()
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(directory)
