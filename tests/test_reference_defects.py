"""What was reproduced in the Rust Walrus, and must not exist here: one test for each situation, named after it.

Storage tests run once per way to the disk. A test that needs a full disk runs its process in a mount namespace of its
own, with a small tmpfs; one that needs a clock set back preloads a clock.
"""
import gc
import os
import random
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

import walrus
from walrus import FsyncSchedule, ReadConsistency

pytestmark = pytest.mark.storage

ROOT = Path(__file__).parent.parent
NO_FSYNC = FsyncSchedule.NoFsync


def payloads(topic, start=None):
    return [entry.data for entry in topic.read(start)]


def consume_all(log, topic, max_bytes=1 << 20):
    taken = []
    while entries := log.batch_read_for_topic(topic, max_bytes, True):
        taken += entries
    return taken


def files(path, pattern="*"):
    return {file.name: file.stat().st_size for file in Path(path).glob(pattern)}


def disk_bytes(path):
    return sum(file.stat().st_blocks * 512 for file in Path(path).iterdir())


# ------------------------------------------------------------------------------------------------------------- reading

def test_batched_reads_with_a_small_max_bytes_over_several_files_deliver_every_entry_once_in_order(open_log):
    log = open_log(fsync_schedule=NO_FSYNC)
    entries = [b"%d " % i + b"x" * 1000 for i in range(12_000)]
    for i in range(0, len(entries), 1000):
        log.batch_append_for_topic("t", entries[i:i + 1000])
    assert consume_all(log, "t", 3000) == entries


def test_200_peeks_after_one_consumed_entry_change_nothing(open_log):
    log = open_log(retention="consumed")
    entries = [os.urandom(50_000) for _ in range(100)]
    for entry in entries:
        log.append_for_topic("t", entry)
    assert log.read_next("t", True) == entries[0]
    log.sync()
    log.reclaim()
    before = files(log.path)
    for _ in range(200):
        assert log.read_next("t", False) == entries[1]
        assert log.batch_read_for_topic("t", 1, False) == [entries[1]]
    log.reclaim()
    assert files(log.path) == before
    assert log.get_topic_entry_count("t") == 99
    log.close()
    assert consume_all(open_log(retention="consumed"), "t") == entries[1:]


def test_two_logs_in_one_process_share_nothing(open_log):
    one, other = open_log("one", retention="consumed"), open_log("other", retention="consumed")
    entries = [os.urandom(50_000) for _ in range(100)]
    for entry in entries:
        one.append_for_topic("t", entry)
        other.append_for_topic("t", entry)
    consume_all(one, "t")
    one.sync()
    one.reclaim()
    assert other.get_topic_entry_count("t") == 100
    assert consume_all(other, "t") == entries


def test_a_reclaimed_file_then_a_restart_leaves_every_unread_entry(open_log):
    log = open_log(retention="consumed")
    entries = [os.urandom(100_000) for _ in range(100)]
    for entry in entries:
        log.append_for_topic("t", entry)
    log.topic("t").cursor("slow").commit(40)
    for i in range(60):
        assert log.read_next("t", True) == entries[i]
    log.sync()
    log.reclaim()
    oldest = log.topic("t").oldest_offset
    assert 0 < oldest <= 40
    log.close()
    log = open_log(retention="consumed")
    assert log.topic("t").oldest_offset == oldest
    assert payloads(log.topic("t")) == entries[oldest:]
    assert consume_all(log, "t") == entries[60:]
    assert log.topic("t").cursor("slow").position == 40
    assert log.append_for_topic("t", b"goes on") == 100


def test_files_of_an_earlier_process_are_reclaimed_and_recycled(open_log, child):
    child.run("""
        with open_log(retention="consumed") as log:
            for _ in range(100):
                log.append_for_topic("t", bytes(100_000))
    """)
    log = open_log(retention="consumed")
    assert len(consume_all(log, "t")) == 100
    before = disk_bytes(log.path)
    log.sync()
    log.reclaim()
    assert disk_bytes(log.path) < before - 5_000_000
    for _ in range(100):
        log.append_for_topic("t", bytes(100_000))
    assert disk_bytes(log.path) <= before + 1_500_000
    assert log.stats().log_files_recycled > 0


def test_polling_an_empty_topic_then_a_restart_delivers_none_again(open_log):
    log = open_log(consistency=ReadConsistency.StrictlyAtOnce)
    log.batch_append_for_topic("t", [b"%d" % i for i in range(5)])
    assert len(consume_all(log, "t")) == 5
    for _ in range(10):
        assert log.read_next("t", True) is None
        assert log.batch_read_for_topic("t", 100, True) == []
    log.close()
    log = open_log(consistency=ReadConsistency.StrictlyAtOnce)
    assert log.read_next("t", True) is None


@pytest.mark.parametrize("batched", [False, True], ids=["over the tail", "in batches"])
def test_at_least_once_over_the_tail_or_in_batches_delivers_at_most_n_again(open_log, batched):
    mode = ReadConsistency.AtLeastOnce(persist_every=10)
    log = open_log(consistency=mode)
    taken = 0
    for i in range(100):
        log.append_for_topic("t", b"%d" % i)
        if batched and i % 5 == 4:
            taken += len(log.batch_read_for_topic("t", 1000, True))
        elif not batched:
            assert log.read_next("t", True) == b"%d" % i
            taken += 1
    assert taken == 100
    log.close()
    assert log.closed
    assert open_log(consistency=mode).get_topic_entry_count("t") <= 10


def test_4_consumer_threads_on_one_cursor_get_3000_deliveries_of_3000_entries(open_log):
    log = open_log(fsync_schedule=NO_FSYNC)
    log.batch_append_for_topic("t", [b"%d" % i for i in range(1500)])
    log.batch_append_for_topic("t", [b"%d" % i for i in range(1500, 3000)])
    taken = [[] for _ in range(4)]

    def work(mine):
        while (entry := log.read_next("t", True)) is not None:
            mine.append(entry)
            mine += log.batch_read_for_topic("t", 10, True)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(entry) for mine in taken for entry in mine) == list(range(3000))
    assert all(mine == sorted(mine, key=int) for mine in taken)


# --------------------------------------------------------------------------------------------------------- batches

@pytest.mark.parametrize("after_ms", [1, 20, 50, 120])
def test_sigkill_during_batches_of_2000_leaves_0_or_2000_of_each(open_log, child, after_ms):
    process = child("""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        print("ready", flush=True)
        number = 0
        while True:
            log.batch_append_for_topic("t", [b"%d" % number + bytes(i % 700) for i in range(2000)])
            number += 1
            print(number, flush=True)
    """)
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_ms / 1000)
    process.kill()
    acknowledged = len(process.stdout.read().splitlines())
    process.wait()
    entries = payloads(open_log().topic("t"))
    assert len(entries) % 2000 == 0
    assert len(entries) >= acknowledged * 2000
    assert entries == [b"%d" % (i // 2000) + bytes(i % 2000 % 700) for i in range(len(entries))]


def test_a_reader_during_a_large_batch_sees_none_or_all(open_log):
    log = open_log(fsync_schedule=NO_FSYNC)
    topic, ends, stop = log.topic("t"), set(), threading.Event()

    def watch():
        while not stop.is_set():
            begin = topic.end_offset
            ends.update((begin, begin + sum(1 for _ in topic.read(begin))))

    thread = threading.Thread(target=watch)
    thread.start()
    entries = [os.urandom(1000)] * 2000
    for _ in range(10):
        topic.append_batch(entries)
    stop.set()
    thread.join()
    assert ends <= {2000 * i for i in range(11)}


def test_appends_return_their_offsets(log):
    assert log.append_for_topic("t", b"x") == 0
    assert log.batch_append_for_topic("t", [b"y", b"z"]) == 1
    assert log.append_for_topic("t", b"x") == 3


# ------------------------------------------------------------------------------------------------------------ full disk

@pytest.fixture
def on_a_small_disk(child, tmp_path):
    """Runs code in a process whose `path` lies on a tmpfs of so many MiB."""
    where = tmp_path / "small"
    where.mkdir()
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", str(where)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")

    def run(code, mib):
        script = f'mount -t tmpfs -o size={mib}m none "{where}" && exec "$@"'
        prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
        return child.run(code, prefix=prefix, path=where / "log")

    return run


# Entries of 5,000 bytes go through the journal, which then has no room either.
@pytest.mark.parametrize("schedule, entry_bytes", [(NO_FSYNC, 50_000), (FsyncSchedule.Milliseconds(20), 50_000),
                                                   (FsyncSchedule.SyncEach, 50_000), (FsyncSchedule.SyncEach, 5000)], ids=repr)
def test_a_full_disk_is_an_error_and_what_was_acknowledged_is_readable_and_it_can_be_emptied(on_a_small_disk, schedule,
                                                                                              entry_bytes):
    on_a_small_disk("""
        acknowledged = {}

        def fill(log):
            try:
                while True:
                    data = os.urandom(ENTRY_BYTES)
                    acknowledged[log.append_for_topic("t", data)] = data
            except walrus.StorageFullError as error:
                assert error.errno == 28 and "reclaim" in str(error), error

        def check(topic):
            entries = list(topic.read())
            assert [entry.offset for entry in entries] == list(range(topic.oldest_offset, topic.end_offset))
            assert all(acknowledged.get(entry.offset, entry.data) == entry.data for entry in entries)
            assert max(acknowledged) < topic.end_offset

        options = {"retention": "consumed", "fsync_schedule": SCHEDULE}
        log = open_log(**options)
        topic = log.topic("t")
        cursor = topic.cursor("c")
        for around in range(3):
            fill(log)
            check(topic)
            oldest = topic.oldest_offset
            cursor.seek(topic.end_offset - 5)
            cursor.commit()
            for _ in range(5):
                log.reclaim()
            assert topic.oldest_offset > oldest, f"round {around}: nothing was reclaimed"
            acknowledged[log.append_for_topic("t", b"room again")] = b"room again"
            check(topic)
        log.close()
        check(open_log(**options).topic("t"))
    """.replace("SCHEDULE", repr(schedule)).replace("ENTRY_BYTES", str(entry_bytes)), 24)


def test_a_full_disk_can_be_emptied_though_the_journal_has_no_room_for_what_is_staged(on_a_small_disk):
    """Its files are needed for frames that would have to be extents first; the cursor's commit is durable without these."""
    on_a_small_disk("""
        options = {"retention": "consumed", "fsync_schedule": FsyncSchedule.NoFsync, "journal_file_bytes": 1 << 17}
        log = open_log(**options)
        topic = log.topic("t")
        cursor = topic.cursor("c")
        topic.append(b"first")
        cursor.commit(1)                                # it has its place in the control file now
        while not log.stats().full:
            topic.append(os.urandom(50_000))
        for i in range(200):
            log.append_for_topic(f"other {i}", b"%d" % i * 1000)
        try:
            log.sync()
            raise AssertionError("there was room for all of them")
        except walrus.StorageFullError:
            pass
        cursor.seek(topic.end_offset - 5)
        cursor.commit()
        for _ in range(5):
            log.reclaim()
        assert topic.oldest_offset > 0, "nothing was reclaimed"
        topic.append(b"room again")
        log.sync()
        log.close()
        log = open_log(**options)
        for i in range(200):
            assert [entry.data for entry in log.topic(f"other {i}").read()] == [b"%d" % i * 1000]
    """, 24)


def test_no_room_for_a_new_file_is_an_error_at_once(on_a_small_disk):
    on_a_small_disk("""
        log = open_log(log_file_bytes=16 << 20, fsync_schedule=FsyncSchedule.NoFsync)
        began, stored = time.monotonic(), 0
        try:
            while True:
                log.append_for_topic("t", bytes(50_000))
                stored += 1
        except walrus.StorageFullError:
            pass
        assert time.monotonic() - began < 10
        assert stored > 0
        assert len(list(log.topic("t").read())) == stored
    """, 14)


# -------------------------------------------------------------------------------------------------------------- damage

def flip(path, position, bit=0):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def find(directory, pattern, text):
    """The first file and position that hold `text`."""
    for path in sorted(Path(directory).glob(pattern)):
        at = path.read_bytes().find(text)
        if at >= 0:
            return path, at
    raise AssertionError(f"{text!r} is nowhere")


@pytest.mark.parametrize("count", [300, 1900], ids=["in the newest file", "in a full one"])
def test_one_flipped_byte_in_one_topic_is_reported_as_that_frame_alone(open_log, count):
    log = open_log()
    entries = {name: [f"{name} {i} ".encode() + b"x" * 500 for i in range(count)] for name in ("a", "b", "c")}
    for i in range(count):
        for name in entries:
            log.topic(name).append(entries[name][i])
    log.close()
    path, at = find(log.path, "log-*", b"b 150 x")
    flip(path, at + 100)
    log = open_log()
    assert payloads(log.topic("a")) == entries["a"]
    assert payloads(log.topic("c")) == entries["c"]
    reading, taken = log.topic("b").read(), []
    with pytest.raises(walrus.CorruptionError) as caught:
        taken += (entry.data for entry in reading)
    assert (caught.value.topic, caught.value.offset, caught.value.next_offset) == ("b", 150, 151)
    assert caught.value.path == log.path
    assert caught.value.file == path.name
    assert payloads(log.topic("b"), 151) == entries["b"][151:]
    assert log.batch_read_for_topic("b", 1 << 30, True) == entries["b"][:150]
    with pytest.raises(walrus.CorruptionError):
        log.read_next("b", True)
    log.seek_for_topic("b", caught.value.next_offset)
    assert log.batch_read_for_topic("b", 1 << 30, True) == entries["b"][151:]


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_an_empty_batch_a_zero_filled_payload_and_an_entry_over_10_mib_lose_nothing(open_log, child, killed):
    process = child(f"""
        log = open_log(staging_bytes=16 << 20, log_file_bytes=8 << 20, fsync_schedule=FsyncSchedule.NoFsync)
        assert log.batch_append_for_topic("new", []) == 0
        assert log.topics() == []
        log.append_for_topic("before", b"before")
        assert log.batch_append_for_topic("before", []) == 1
        log.append_for_topic("zeros", bytes(3 << 20))
        log.append_for_topic("zeros", bytes(100_000))
        log.append_for_topic("large", bytes(range(256)) * (45 << 10))
        log.append_for_topic("after", b"after")
        log.append_for_topic("new", b"new")
        if {killed}:
            os.kill(os.getpid(), signal.SIGKILL)
        log.close()
    """)
    process.wait()
    log = open_log(staging_bytes=16 << 20, log_file_bytes=8 << 20)
    assert payloads(log.topic("before")) == [b"before"]
    assert payloads(log.topic("zeros")) == [bytes(3 << 20), bytes(100_000)]
    assert payloads(log.topic("large")) == [bytes(range(256)) * (45 << 10)]
    assert payloads(log.topic("after")) == [b"after"]
    assert payloads(log.topic("new")) == [b"new"]


def copy_directory(source, target):
    """With its holes: the control file is sparse."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


READ_ALL = """
    try:
        log = open_log()
    except (walrus.CorruptionError, walrus.VersionError) as error:
        assert error.path == path, error
        print(0, 0, "refused")
        sys.exit()
    good = bad = 0
    for number in range(4):
        topic, at = log.topic(f"topic {number}"), 0
        while at < topic.end_offset:
            try:
                for entry in topic.read(at):
                    assert entry.data == b"%d " % (entry.offset * 4 + number) + b"x" * 300
                    assert entry.offset == at
                    at, good = at + 1, good + 1
            except walrus.CorruptionError as error:
                assert error.offset == at < error.next_offset, error
                bad += error.next_offset - at
                at = error.next_offset
    try:
        cursor = log.topic("topic 0").cursor("c").position
    except walrus.CorruptionError:
        cursor = "refused"
    print(good, bad, cursor)
"""


@pytest.mark.parametrize("sessions", [1, 4])
@pytest.mark.parametrize("where", ["log-*", "catalog.0", "catalog.1", "journal-*", "staging", "control"])
def test_a_flipped_bit_in_a_header_or_an_index_is_an_error_and_the_rest_is_readable(open_log, child, tmp_path, where, sessions):
    each = 200 // sessions                              # every session's close writes extents of its own
    for begin in range(0, 200, each):
        log = open_log()
        for i in range(begin, begin + each):
            log.topic(f"topic {i % 4}").append(b"%d " % i + b"x" * 300)
        if begin + each == 200:
            cursor = log.topic("topic 0").cursor("c")
            cursor.seek(7)
            cursor.commit()
        log.close()
    origin = tmp_path / "origin"
    copy_directory(log.path, origin)
    target = sorted(origin.glob(where))[0]
    with target.open("rb") as file:
        data = file.read(1 << 16)
    # Bytes that mean something, many of them where headers are: at the beginning of a block.
    positions = [i for i, byte in enumerate(data) if byte and i % 4096 < 300] or [0]
    seed = random.Random(where)
    for position in seed.sample(positions, min(10, len(positions))):
        bit = seed.randrange(8)
        copy_directory(origin, log.path)
        flip(Path(log.path) / target.name, position, bit)
        good, bad, cursor = child.run(READ_ALL).split()
        said = f"{target.name}, byte {position}, bit {bit}: {good} entries readable, {bad} refused, cursor {cursor}"
        assert cursor in ("7", "refused"), said
        if not (good == bad == "0"):
            assert int(good) + int(bad) == 200, said
            assert int(bad) <= (each if where == "log-*" else 0), said


def test_a_flipped_bit_in_a_stored_cursor_makes_none_up(open_log, tmp_path):
    log = open_log()
    log.batch_append_for_topic("t", [b"%d" % i for i in range(200)])
    for value in (5, 7):                                # both slots of the pair
        log.topic("t").cursor("c").commit(value)
    log.close()
    origin = tmp_path / "origin"
    copy_directory(log.path, origin)
    slots = 128 << 20                                   # docs/format.md: ControlCursor, 128 bytes each
    with open(origin / "control", "rb") as file:
        file.seek(slots)
        slot = file.read(128)
    seen = set()
    for position in (i for i, byte in enumerate(slot) if byte):
        copy_directory(origin, log.path)
        flip(Path(log.path) / "control", slots + position, position % 3)
        log = open_log()
        try:
            seen.add(log.topic("t").cursor("c").position)
        except walrus.CorruptionError:
            seen.add("refused")
        log.close()
    assert seen == {7, "refused"}


def test_a_topic_name_of_300_bytes_in_a_batch_is_accepted_and_one_over_the_limit_names_it(open_log):
    log = open_log()
    log.batch_append_for_topic("x" * 300, [b"a", b"b"])
    with pytest.raises(ValueError, match="1024"):
        log.batch_append_for_topic("x" * 1025, [b"a", b"b"])
    assert log.topics() == ["x" * 300]
    log.batch_append_for_topic("x" * 300, [b"c"])
    log.close()
    assert payloads(open_log().topic("x" * 300)) == [b"a", b"b", b"c"]


def test_an_entry_over_the_limit_changes_nothing(open_log):
    log = open_log(fsync_schedule=NO_FSYNC)
    log.batch_append_for_topic("t", [b"a", b"b"])
    assert log.read_next("t", True) == b"a"
    numpy = pytest.importorskip("numpy")
    huge = numpy.zeros(walrus.MAX_ENTRY_BYTES + 1, dtype=numpy.uint8)
    for call in (lambda: log.append_for_topic("t", huge), lambda: log.batch_append_for_topic("t", [b"c", huge]),
                 lambda: log.topic("t").append_batch(data=huge, lengths=[huge.nbytes])):
        with pytest.raises(walrus.EntryTooLargeError, match="MAX_ENTRY_BYTES"):
            call()
    assert log.topic("t").end_offset == 2
    assert log.batch_read_for_topic("t", 100, True) == [b"b"]


def test_zero_length_entries_in_batched_reads_are_delivered(open_log):
    log = open_log()
    entries = [b"", b"a", b"", b"", b"b", b""]
    log.batch_append_for_topic("t", entries)
    for entry in entries:
        log.append_for_topic("t", entry)
    assert log.batch_read_for_topic("t", 1, False) == [b"", b"a", b"", b""]
    assert consume_all(log, "t") == entries * 2


def test_max_bytes_0_gives_one_entry(log):
    log.batch_append_for_topic("t", [b"a", b"b"])
    assert log.batch_read_for_topic("t", 0, True) == [b"a"]
    assert log.batch_read_for_topic("t", 0, True) == [b"b"]
    assert log.batch_read_for_topic("t", 0, True) == []


def test_a_key_that_is_dots_or_has_a_slash_stays_inside_and_is_nobody_else_s(open_log, tmp_path):
    paths = {key: open_log("data", key=key).path for key in ("..", ".", "a/b", "a_b", "/")}
    assert len(set(paths.values())) == len(paths)
    assert all(Path(path).resolve().parent == (tmp_path / "data").resolve() for path in paths.values())


# ------------------------------------------------------------------------------------------------------------- the disk

def test_io_uring_blocked_by_seccomp_falls_back_and_says_so(child, tmp_path):
    out = child.run("""
        import logging
        from tests import seccomp
        seccomp.install()
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        for backend in ("auto", "io_uring"):
            with open_log(path=path + backend, backend=backend, fsync_schedule=FsyncSchedule.SyncEach) as log:
                log.append_for_topic("t", b"x")
                stats = log.stats()
                assert stats.io == "pwrite" and stats.io_fallback and stats.flushes > 0, stats
                assert log.topic("t").durable_offset == 1
                assert log.read_next("t") == b"x"
    """, env={"PYTHONPATH": f"{Path(walrus.__file__).parent.parent}:{ROOT}"})
    assert out.count("pwrite") == 2
    assert "Operation not permitted" in out


def test_an_fsync_error_is_raised_to_every_waiter_and_the_log_refuses_appends(child, way):
    if way != "pwrite":
        pytest.skip("the filter reaches flushes by a system call of the caller's thread")
    child.run("""
        import errno, threading
        from tests import seccomp
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        log.append_for_topic("t", b"durable")
        log.sync()
        log.append_for_topic("t", b"not")
        for number in (74, 75):
            seccomp.install(errno.EIO, number)
        failed = []
        def wait():
            try:
                log.sync()
            except walrus.LogFailedError as error:
                failed.append(error)
        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 4, failed
        for error in failed:
            assert error.errno == errno.EIO and "unknown" in str(error), error
        for call in (lambda: log.append_for_topic("t", b"x"), lambda: log.batch_append_for_topic("t", [b"x"]),
        log.sync):
            try:
                call()
            except walrus.LogFailedError:
                continue
            raise AssertionError("not refused")
        assert log.stats().failed
        assert [entry.data for entry in log.topic("t").read()] == [b"durable"]
        try:
            log.close()
        except walrus.LogFailedError:
            pass
        else:
            raise AssertionError("close() says nothing")
    """, env={"PYTHONPATH": f"{Path(walrus.__file__).parent.parent}:{ROOT}"})


def test_no_fsync_never_flushes_for_an_append_or_a_batch(open_log):
    log = open_log(fsync_schedule=NO_FSYNC, log_file_bytes=64 << 20)
    log.append_for_topic("t", b"x")
    before = log.stats().flushes
    for _ in range(1000):
        log.append_for_topic("t", bytes(5000))
    for _ in range(50):
        log.batch_append_for_topic("t", [bytes(100)] * 1000)
    time.sleep(0.3)
    assert log.stats().flushes == before
    assert log.topic("t").durable_offset == 0
    log.sync()
    assert log.stats().flushes > before


def test_a_second_process_on_one_directory_is_refused(child, tmp_path):
    process = child("log = open_log(); print('open', flush=True); time.sleep(60)")
    assert process.stdout.readline() == "open\n"
    (tmp_path / "link").symlink_to(tmp_path / "log")
    for path in ("log", "link"):
        with pytest.raises(walrus.LockedError, match=str(process.pid)) as caught:
            walrus.open(tmp_path / path)
        assert caught.value.pid == process.pid
    process.kill()
    process.wait()
    walrus.open(tmp_path / "log").close()


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, t);
    if (clock == CLOCK_REALTIME) t->tv_sec -= atol(getenv("CLOCK_BACK"));
    return result;
}
"""


def test_a_clock_set_back_leaves_the_order(open_log, child, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c", "-ldl"], check=True)
    for around, back in enumerate((0, 86400, 10 * 86400, 3600)):
        child.run(f"""
            with open_log(fsync_schedule=FsyncSchedule.NoFsync) as log:
                for i in range(500):
                    assert log.append_for_topic("t", b"%d" % ({around} * 500 + i)) == {around} * 500 + i
        """, env={"LD_PRELOAD": str(tmp_path / "clock.so"), "CLOCK_BACK": str(back)})
    log = open_log()
    entries = list(log.topic("t").read())
    assert [int(entry.data) for entry in entries] == list(range(2000))
    assert entries[500].timestamp_ns < entries[499].timestamp_ns            # the clock did go back
    assert [int(entry) for entry in consume_all(log, "t")] == list(range(2000))


def test_opening_again_and_again_makes_nothing_new(open_log):
    open_log().close()
    log = open_log()
    assert not files(log.path, "log-*")
    log.append_for_topic("t", b"x")
    log.close()
    names, size = set(files(log.path)), disk_bytes(log.path)
    for _ in range(10):
        open_log().close()
    assert set(files(log.path)) == names
    assert disk_bytes(log.path) <= size + 65536
    for number in range(1, 11):                         # what is needed goes where the one before left off
        log = open_log()
        assert log.append_for_topic("t", b"x") == number
        log.close()
    assert set(files(log.path)) == names
    assert disk_bytes(log.path) <= size + 131072


@pytest.mark.filterwarnings("ignore:unclosed log")
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_close_gives_back_threads_descriptors_and_memory(tmp_path, way, closed):
    def around():
        log = walrus.open(tmp_path / "log", backend=way)
        log.append_for_topic("t", os.urandom(100_000))
        list(log.topic("t").read())
        log.read_next("t")
        if closed:
            log.close()
        del log
        gc.collect()

    def held():
        maps = Path("/proc/self/maps").read_text()
        status = dict(re.findall(r"^(\w+):\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE))
        return len(os.listdir("/proc/self/fd")), int(status["Threads"]), maps.count(str(tmp_path)), int(status["VmSize"])

    around()
    before = held()
    for _ in range(20):
        around()
    after = held()
    assert after[:3] == before[:3]
    assert after[3] <= before[3] + 65536


def test_5000_topics_grow_with_the_data(tmp_path, way, child):
    code = """
        with open_log() as log:
            for i in range(5000):
                topic = log.topic(f"topic {i}")
                assert topic.append(b"%d" % i) == ROUND
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            print(status["VmRSS"].split()[0], status["VmSize"].split()[0])
            assert log.get_topic_entry_counts() == {f"topic {i}": ROUND + 1 for i in range(5000)}
    """
    sizes = []
    for around in range(3):
        resident, virtual = map(int, child.run(code.replace("ROUND", str(around))).split())
        assert resident < 200 << 10
        assert virtual < 2 << 20
        sizes.append(disk_bytes(tmp_path / "log"))
    assert sizes[0] < 60 << 20
    assert sizes[2] < sizes[0] + (20 << 20)
