"""Reading a log that another process writes: whole batches, no gap over the writer's death, cursors committed from here."""
import math
import os
import threading
import time

import pytest

import walrus
from walrus import FsyncSchedule

SMALL = {"staging_bytes": 4 << 20, "log_file_bytes": 1 << 20, "journal_file_bytes": 1 << 20}


def payload(i):
    return b"%d " % i + b"x" * (i % 700)


@pytest.fixture
def writer(child):
    """A process that goes on appending payload(i) to "t" where it ends, `count` entries in batches of `batch`, then waits."""
    def start(count, batch=1, schedule="FsyncSchedule.Milliseconds(20)"):
        process = child(f"""
            log = open_log(fsync_schedule={schedule}, timeout=20)
            topic = log.topic("t")
            def payload(i):
                return b"%d " % i + b"x" * (i % 700)
            begin = topic.end_offset
            for i in range(begin, begin + {count}, {batch}):
                if {batch} == 1:
                    topic.append(payload(i))
                else:
                    topic.append_batch([payload(k) for k in range(i, i + {batch})])
            print("done", flush=True)
            time.sleep(100)
        """)
        return process
    return start


def opened(path, **options):
    deadline = time.monotonic() + 20
    while True:
        try:
            return walrus.open(path, read_only=True, **options)
        except (FileNotFoundError, walrus.WalrusError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def followed(reader, count, timeout=20):
    """The first `count` entries of the cursor "c", as they come; each is what was appended."""
    for expected, entry in enumerate(reader.topic("t").cursor("c").follow(timeout)):
        assert entry.offset == expected
        assert entry.data == payload(expected)
        if expected == count - 1:
            return
    raise AssertionError(f"{count} entries were expected")


def test_a_reader_follows_a_writer_whatever_is_staged_or_on_disk(writer, tmp_path):
    process = writer(30_000)
    with opened(tmp_path / "log") as reader:
        followed(reader, 30_000)
        assert reader.topics() == ["t"]
        assert process.stdout.readline() == "done\n"
        assert reader.topic("t").end_offset == 30_000
        assert [e.data for e in reader.topic("t").read(29_990)] == [payload(i) for i in range(29_990, 30_000)]


def test_a_reader_goes_on_over_the_writers_death(writer, tmp_path):
    process = writer(10_000)
    with opened(tmp_path / "log") as reader:
        assert process.stdout.readline() == "done\n"
        process.kill()
        process.wait()
        assert reader.topic("t").end_offset == 10_000
        writer(5_000)
        followed(reader, 15_000)


def test_batches_are_seen_whole(writer, tmp_path):
    process = writer(40_000, batch=400)
    with opened(tmp_path / "log") as reader:
        end = 0
        while end < 40_000:
            end = reader.topic("t").end_offset
            assert end % 400 == 0
        assert process.stdout.readline() == "done\n"


@pytest.mark.parametrize("bytes_each", [3 << 20, 40 << 10])
def test_large_frames_are_read_from_another_process(child, tmp_path, bytes_each):
    process = child(f"""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        for i in range(4):
            log.topic("t").append_batch([bytes([65 + i]) * {bytes_each}] * 2)
            log.topic("t").append(b"small %d" % i)
        print("done", flush=True)
        time.sleep(100)
    """)
    assert process.stdout.readline() == "done\n"
    with opened(tmp_path / "log") as reader:
        entries = [entry.data for entry in reader.topic("t").read()]
    expected = []
    for i in range(4):
        expected += [bytes([65 + i]) * bytes_each] * 2 + [b"small %d" % i]
    assert [len(entry) for entry in entries] == [len(entry) for entry in expected]
    assert entries == expected


def test_a_commit_from_a_reader_survives_the_writers_death_and_is_seen_by_the_next_writer(writer, tmp_path):
    process = writer(500)
    assert process.stdout.readline() == "done\n"
    with opened(tmp_path / "log") as reader:
        cursor = reader.topic("t").cursor("c")
        assert (cursor.committed, cursor.position) == (0, 0)
        cursor.read_batch(max_entries=123)
        cursor.commit()
        assert cursor.committed == 123
        process.kill()
        process.wait()
        with walrus.open(tmp_path / "log", timeout=20, **SMALL) as log:
            assert log.topic("t").cursor("c").committed == 123


def test_a_commit_from_a_reader_becomes_the_writers_own_with_its_next_sync(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    log.topic("t").append_batch([payload(i) for i in range(100)])
    with opened(log.path) as reader:
        reader.topic("t").cursor("c").commit(42)
    log.sync()
    assert log.topic("t").cursor("c").committed == 42


def test_one_process_owns_a_cursor_and_its_death_frees_it(writer, child, tmp_path):
    process = writer(100)
    assert process.stdout.readline() == "done\n"
    owner = child("""
        reader = walrus.open(path, read_only=True)
        reader.topic("t").cursor("c").commit(7)
        print("owned", flush=True)
        time.sleep(100)
    """)
    assert owner.stdout.readline() == "owned\n"
    with opened(tmp_path / "log") as reader:
        cursor = reader.topic("t").cursor("c")
        assert cursor.committed == 7
        with pytest.raises(walrus.CursorInUseError, match="another process"):
            cursor.commit(8)
        assert cursor.committed == 7
        reader.topic("t").cursor("other").commit(9)
        owner.kill()
        owner.wait()
        cursor.commit(8)
        assert cursor.committed == 8


def test_readers_of_a_sync_each_log_stop_at_the_durable_offset(writer, tmp_path):
    process = writer(300, schedule="FsyncSchedule.SyncEach")
    with opened(tmp_path / "log") as reader:
        while reader.topic("t").end_offset < 300:
            assert reader.topic("t").end_offset <= reader.topic("t").durable_offset
        assert process.stdout.readline() == "done\n"


def test_a_follower_ends_at_its_timeout_and_wakes_for_a_new_entry(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    log.topic("t").append(b"first")
    with opened(log.path) as reader:
        cursor = reader.topic("t").cursor("c")
        assert [e.data for e in cursor.follow(timeout=0.1)] == [b"first"]
        timer = threading.Timer(0.3, log.topic("t").append, [b"second"])
        timer.start()
        assert next(cursor.follow(timeout=10)).data == b"second"
        timer.join()


def test_nothing_is_made_and_nothing_can_be_appended(open_log, tmp_path):
    with pytest.raises(FileNotFoundError):
        walrus.open(tmp_path / "nowhere", read_only=True)
    assert not (tmp_path / "nowhere").exists()
    log = open_log()
    log.topic("t").append(b"x")
    before = sorted(os.listdir(log.path))
    with opened(log.path) as reader:
        with pytest.raises(walrus.ReadOnlyError):
            reader.topic("t").append(b"y")
        with pytest.raises(walrus.ReadOnlyError):
            reader.append_batch({"t": [b"y"]})
        assert reader.topic("unknown").end_offset == 0
        assert list(reader.topic("unknown").read()) == []
        with pytest.raises(walrus.OffsetOutOfRange):
            reader.topic("t").read_batch(5)
    assert sorted(os.listdir(log.path)) == before
    with pytest.raises(walrus.ClosedError):
        reader.topics()


BAD_ARGUMENTS = [
    (TypeError, lambda topic: topic.read_batch(1.5)),
    (TypeError, lambda topic: topic.read_batch(True)),
    (TypeError, lambda topic: topic.read_batch(0, "1")),
    (TypeError, lambda topic: topic.cursor("c").seek("1")),
    (TypeError, lambda topic: topic.cursor("c").commit(1.5)),
    (TypeError, lambda topic: topic.cursor(5)),
    (ValueError, lambda topic: topic.read_batch(-1)),
    (ValueError, lambda topic: topic.read_batch(0, -1)),
    (ValueError, lambda topic: topic.read_batch(0, 1, 0)),
    (ValueError, lambda topic: topic.read_batch(0, 1, 2001)),
    (ValueError, lambda topic: list(topic.read(-1))),
    (ValueError, lambda topic: topic.cursor("")),
    (ValueError, lambda topic: topic.cursor("c").seek(-1)),
    (ValueError, lambda topic: topic.cursor("c").commit(-1)),
    (ValueError, lambda topic: list(topic.cursor("c").follow(-1))),
    (ValueError, lambda topic: list(topic.cursor("c").follow(math.nan))),
    (ValueError, lambda topic: topic.log.topic("")),
    (ValueError, lambda topic: topic.log.topic("x" * 1025)),
    (walrus.OffsetOutOfRange, lambda topic: topic.read_batch(1 << 70)),
    (walrus.OffsetOutOfRange, lambda topic: list(topic.read(1 << 70))),
    (walrus.OffsetOutOfRange, lambda topic: topic.cursor("c").seek(4)),
    (walrus.OffsetOutOfRange, lambda topic: topic.cursor("c").commit(1 << 70)),
]


def test_wrong_arguments_are_refused_as_in_the_writer_and_change_nothing(open_log):
    log = open_log()
    log.topic("t").append_batch([b"0", b"1", b"2"])
    with walrus.open(log.path, read_only=True) as reader:
        topic = reader.topic("t")
        for error, attempt in BAD_ARGUMENTS:
            with pytest.raises(error):
                attempt(topic)
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            topic.cursor("c").seek(4)
        assert (caught.value.oldest, caught.value.end) == (0, 3)
        assert topic.cursor("c").committed == 0
        assert topic.read_batch(0, 1 << 70).tolist() == [b"0", b"1", b"2"]


@pytest.mark.storage
def test_a_signal_handler_does_not_close_a_reader_in_the_middle_of_its_call(child):
    """A writer is opening the log, for ever: the reader waits, and is interrupted."""
    child.run("""
        import faulthandler
        faulthandler.dump_traceback_later(20, exit=True)
        open_log().close()
        reader = walrus.open(path, read_only=True)
        with open(os.path.join(path, "control"), "r+b") as control:
            control.seek(132)
            control.write(b"\\1")
        refused = []
        def handler(number, frame):
            try:
                reader.close()
            except walrus.WalrusError as error:
                refused.append(str(error))
                raise SystemExit(3)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            reader.topics()
            raise AssertionError("it did not wait")
        except SystemExit:
            pass
        assert len(refused) == 1 and path in refused[0], refused
        reader.close()
        assert reader.closed
    """)
