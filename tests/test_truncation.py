"""Truncation to a frame's border: below the public API as yet, for the cluster; durable before it returns."""
import threading

import pytest

import walrus
from walrus import FsyncSchedule


def data(topic):
    return [entry.data for entry in topic.read()]


@pytest.mark.storage
@pytest.mark.parametrize("staged", [True, False], ids=["staged", "on disk"])
def test_what_lies_beyond_is_gone_and_appending_goes_on_there(open_log, way, staged):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    topic = log.topic("t")
    for i in range(100):
        topic.append(b"old %d" % i)
    if not staged:
        log.close()
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        topic = log.topic("t")
    topic._truncate(40)
    assert (topic.end_offset, topic.durable_offset) == (40, 40)
    assert topic.size_bytes == sum(map(len, data(topic)))
    assert topic.append(b"new") == 40
    assert data(topic) == [b"old %d" % i for i in range(40)] + [b"new"]
    log.close()
    log = open_log()
    assert data(log.topic("t")) == [b"old %d" % i for i in range(40)] + [b"new"]


@pytest.mark.storage
def test_sizes_stay_exact_so_that_retention_by_bytes_keeps_what_it_promises(open_log, way):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    topic = log.topic("t")
    for round_ in range(30):
        for i in range(400):
            topic.append(b"%d %d" % (round_, i) + bytes(i % 90))
        topic.append_batch([bytes(50)] * 200)
        log.sync()
        cut = topic.end_offset - 200 - round_ * 7
        if cut > topic.oldest_offset:
            topic._truncate(cut)
        assert topic.size_bytes == sum(map(len, data(topic)))
    log.close()
    log = open_log(retention=300_000)
    topic = log.topic("t")
    assert topic.size_bytes == sum(map(len, data(topic)))
    for _ in range(20):
        topic.append_batch([bytes(100)] * 1000)
        log.sync()
    assert sum(map(len, data(topic))) >= 300_000


@pytest.mark.storage
def test_it_holds_after_sigkill(open_log, child, way):
    child("""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        topic = log.topic("t")
        for i in range(100):
            topic.append(b"old %d" % i)
        topic._truncate(40)
        topic.append_batch([b"new"] * 3)
        os.kill(os.getpid(), signal.SIGKILL)
    """).wait()
    assert data(open_log().topic("t")) == [b"old %d" % i for i in range(40)] + [b"new"] * 3


def test_only_a_frames_border_will_do_and_nothing_changes_else(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    topic = log.topic("t")
    topic.append_batch([b"a", b"b", b"c"])
    for offset in (1, 2, 4):
        with pytest.raises(walrus.OffsetOutOfRange):
            topic._truncate(offset)
    assert data(topic) == [b"a", b"b", b"c"]
    assert topic.append(b"d") == 3
    topic._truncate(3)
    assert data(topic) == [b"a", b"b", b"c"]


def test_a_cursor_beyond_it_is_set_back(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    topic = log.topic("t")
    for i in range(10):
        topic.append(b"%d" % i)
    topic.cursor("c").commit(9)
    topic._truncate(4)
    assert topic.cursor("c").committed == 4
    log.close()
    assert open_log().topic("t").cursor("c").committed == 4


def test_what_a_handle_had_read_ahead_is_not_handed_out(open_log):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
    topic = log.topic("t")
    for i in range(10):
        topic.append(b"old %d" % i)
    cursor, entries = topic.cursor("c"), topic.read()
    assert cursor.read_next().data == next(entries).data == log.read_next("t") == b"old 0"
    topic._truncate(5)
    for i in range(5, 10):
        topic.append(b"new %d" % i)
    expected = [b"old %d" % i for i in range(1, 5)] + [b"new %d" % i for i in range(5, 10)]
    assert [cursor.read_next().data for _ in expected] == expected
    assert [log.read_next("t") for _ in expected] == expected
    assert [entry.data for entry in entries] == expected

@pytest.mark.storage
def test_a_sync_under_way_makes_nothing_durable_that_was_cut_off_meanwhile(open_log, way):
    log = open_log(fsync_schedule=FsyncSchedule.NoFsync, timeout=30)
    topic, other, done = log.topic("t"), log.topic("other"), threading.Event()

    def sync():
        while not done.is_set():
            other.append(b"x")
            log.sync()

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    for _ in range(300):
        topic.append_batch([b"x" * 100] * 5)
        topic._truncate(0)
        assert topic.durable_offset == topic.end_offset == 0
    done.set()
    thread.join()
