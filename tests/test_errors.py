"""Errors: what is raised, with what in it, and that nothing has changed afterwards."""
import enum
import errno
import os
import pickle
import signal
import threading
import time

import pytest

import walrus
from walrus import FsyncSchedule, errors

ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_a_walrus_error_and_part_of_the_package(kind):
    assert issubclass(kind, walrus.WalrusError)
    assert getattr(walrus, kind.__name__) is kind


def test_errors_are_what_python_users_catch():
    assert issubclass(walrus.EntryTooLargeError, ValueError)
    assert issubclass(walrus.OffsetOutOfRange, LookupError)
    assert issubclass(walrus.StorageFullError, OSError)
    assert issubclass(walrus.LogFailedError, OSError)
    assert issubclass(walrus.WaitTimeoutError, TimeoutError)


@pytest.mark.parametrize("error", [
    walrus.CorruptionError("text", topic="t", offset=5, path="/p", next_offset=6, file="f", position=7),
    walrus.LockedError("text", path="/p", pid=5),
    walrus.OffsetOutOfRange("text", topic="t", offset=5, oldest=6, end=7),
    walrus.StorageFullError(errno.ENOSPC, "text", "/p", topic="t", path="/p"),
], ids=lambda error: type(error).__name__)
def test_errors_cross_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_an_os_error_carries_errno_and_file():
    error = walrus.StorageFullError(errno.ENOSPC, "text", "/p", path="/p")
    assert (error.errno, error.filename, error.path) == (errno.ENOSPC, "/p", "/p")


@pytest.mark.storage
class TestMessages:
    """What, where, and what to do."""

    def test_out_of_range(self, log):
        log.topic("orders").append(b"x")
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            log.topic("orders").read(7)
        for part in ("7", "'orders'", log.path, "beyond the end, 1"):
            assert part in str(caught.value)

    def test_a_str_is_told_to_encode(self, log):
        with pytest.raises(TypeError, match="encode"):
            log.topic("t").append("text")

    def test_closed(self, log):
        log.close()
        with pytest.raises(walrus.ClosedError, match="open it again") as caught:
            log.sync()
        assert caught.value.path == log.path

    def test_locked(self, log):
        with pytest.raises(walrus.LockedError, match="one writer") as caught:
            walrus.open(log.path)
        assert caught.value.pid == os.getpid()
        assert caught.value.path == log.path

    @pytest.mark.parametrize("name", ["", "x" * 1025, "\ud800", "é" * 513], ids=["empty", "long", "surrogate", "long in bytes"])
    def test_a_topic_s_name_out_of_its_limits(self, log, name):
        with pytest.raises(ValueError, match=r"1024|surrogate"):
            log.topic(name)
        with pytest.raises(ValueError, match=r"1024|surrogate"):
            log.topic("t").cursor(name)
        assert log.topics() == []

    @pytest.mark.parametrize("name", [5, b"bytes", None], ids=repr)
    def test_a_topic_s_name_that_is_no_str(self, log, name):
        with pytest.raises(TypeError):
            log.topic(name)
        with pytest.raises(TypeError):
            log.append_batch({name: [b"x"]})

    def test_names_may_be_of_a_subclass_of_str(self, log):
        names = enum.StrEnum("names", ["orders", "billing"])
        log.topic(names.orders).append(b"x")
        assert log.append_for_topic(names.orders, b"y") == 1
        assert log.read_next("orders") == b"x"
        cursor = log.topic(names.orders).cursor(names.billing)
        assert (type(cursor.name), cursor.read_next().data) == (str, b"x")

    @pytest.mark.parametrize("name", ["a/b", "a_b", "..", "\0", " ", "\U0001f40b", "x" * 1024, "é" * 512, "a\nb"], ids=ascii)
    def test_topics_may_be_called_anything_else(self, open_log, name):
        log = open_log()
        log.topic(name).append(name.encode())
        log.topic("other").append(b"x")
        log.close()
        log = open_log()
        assert log.topics() == [name, "other"]
        assert [entry.data for entry in log.topic(name).read()] == [name.encode()]


@pytest.mark.storage
def test_a_path_that_is_no_directory(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "log"):
        with pytest.raises(NotADirectoryError, match="give a directory") as caught:
            walrus.open(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOTDIR, str(path))
    with pytest.raises(ValueError, match="NUL"):
        walrus.open("a\0b")
    with pytest.raises(ValueError):
        walrus.open("")


def test_a_log_is_not_made_by_calling_its_class():
    with pytest.raises(TypeError, match=r"walrus\.open"):
        walrus.Log()
    with pytest.raises(TypeError, match=r"walrus\.open"):
        walrus.Walrus()


def test_a_handle_is_never_without_its_log_and_never_gets_another(open_log, tmp_path):
    log, other = open_log(), open_log(tmp_path / "other")
    topic = log.topic("t")
    cursor, entries = topic.cursor("c"), topic.read()
    for handle in (topic, cursor, entries):
        with pytest.raises(TypeError):
            type(handle).__new__(type(handle))
    topic.append(b"x")
    topic.read_batch()
    cursor.read_next()
    topic.__init__(other, "u")
    cursor.__init__(other.topic("u"), "d")
    assert (topic.log, topic.name, cursor.topic, cursor.name) == (log, "t", topic, "c")
    assert topic.append(b"y") == 1
    assert cursor.read_next().data == b"y"


@pytest.mark.storage
def test_ctrl_c_interrupts_a_thread_that_follows(log):
    topic = log.topic("t")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(topic.cursor("c").follow())
    topic.append(b"still here")
    assert topic.cursor("c").read_next().data == b"still here"


CLOSED_BY_A_HANDLER = """
    import faulthandler, signal
    faulthandler.dump_traceback_later(20, exit=True)
    log = open_log()
    log.topic("t").append(b"x")
    cursor = log.topic("t").cursor("c")
    refused = []

    def handler(number, frame):
        try:
            log.close()
        except walrus.WalrusError as error:
            refused.append(str(error))
            raise SystemExit(3)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        for entry in cursor.follow():
            pass
        raise AssertionError("nothing interrupted it")
    except SystemExit:
        pass
    assert len(refused) == 1 and log.path in refused[0] and "signal handler" in refused[0], refused
    log.topic("t").append(b"still open")
    cursor.commit(1)
    log.close()
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.pause()
    assert len(refused) == 1 and log.closed
"""


@pytest.mark.storage
def test_a_signal_handler_does_not_wait_for_the_call_that_it_interrupts(child):
    child.run(CLOSED_BY_A_HANDLER)


@pytest.mark.storage
def test_a_signal_handler_does_not_wait_for_the_cursor_of_the_call_that_it_interrupts(child):
    """A commit in a handler, while its thread waits with that cursor for a flush that another thread leads."""
    child.run("""
        import faulthandler, signal, threading
        faulthandler.dump_traceback_later(25, exit=True)
        log = open_log(fsync_schedule=FsyncSchedule.SyncEach)
        log.topic("t").append(b"x")
        cursor, done, calls = log.topic("t").cursor("c"), [], []

        def handler(number, frame):
            calls.append(number)
            try:
                cursor.commit(1)
            except walrus.WalrusError as error:
                assert "signal handler" in str(error) and "'t'" in str(error), error

        def work():
            while not done:
                log.topic("u").append(b"y")

        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        signal.signal(signal.SIGALRM, handler)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            seen = len(calls)
            while len(calls) == seen:
                cursor.commit(1)
        done.append(True)
        for thread in threads:
            thread.join()
        log.close()
    """)


@pytest.mark.storage
def test_hostile_objects_cannot_lie_about_their_size(log):
    class Bytes(bytes):
        def __len__(self):
            return 1 << 40

    class List(list):
        def __len__(self):
            return 1

        def __iter__(self):
            return iter([b"a", b"b"])

    topic = log.topic("t")
    topic.append(Bytes(b"x"))
    topic.append_batch(List([b"not seen"]))
    topic.append_batch([Bytes(b"y"), bytearray(b"z")])
    assert [entry.data for entry in topic.read()] == [b"x", b"a", b"b", b"y", b"z"]


@pytest.mark.storage
def test_a_buffer_that_closes_the_log_while_it_is_looked_at_does_no_harm(log):
    def entries():
        yield b"a"
        log.close()
        yield b"b"

    topic = log.topic("t")
    with pytest.raises(walrus.ClosedError):
        topic.append_batch(entries())


@pytest.mark.storage
def test_a_buffer_that_changes_while_it_is_appended_is_stored_as_some_state_of_it(log):
    data, stop = bytearray(1 << 20), threading.Event()

    def change():
        while not stop.is_set():
            data[:] = os.urandom(1) * len(data)

    thread = threading.Thread(target=change)
    thread.start()
    topic = log.topic("t")
    for _ in range(20):
        topic.append(data)
    stop.set()
    thread.join()
    assert sum(1 for _ in topic.read()) == 20           # every checksum is right
    with pytest.raises(BufferError):
        with memoryview(data):
            data.append(1)


@pytest.mark.storage
def test_an_append_times_out_when_there_is_no_room(open_log):
    """The staging is smaller than the entry: 0 seconds are over at once, or, with a disk as fast as that, it is stored."""
    topic = open_log(staging_bytes=1 << 20).topic("t")
    stored, timeouts = 0, []
    for _ in range(200):
        try:
            topic.append(bytes(1 << 19), timeout=0)
            stored += 1
        except walrus.WaitTimeoutError as error:
            timeouts.append(error)
    assert all(error.topic == "t" and "nothing was appended" in str(error) for error in timeouts)
    assert topic.end_offset == stored
    assert topic.append(b"after", timeout=10) == stored
    assert [len(entry.data) for entry in topic.read()] == [1 << 19] * stored + [5]


@pytest.mark.storage
def test_the_outcome_of_an_interrupted_flush_is_said_to_be_unknown(open_log, monkeypatch):
    """SyncEach: an alarm raises at any instant; whatever is acknowledged is there, and an interrupt names its offset."""
    topic = open_log(fsync_schedule=FsyncSchedule.SyncEach).topic("t")

    class Alarm(Exception):
        pass

    def raise_it(number, frame):
        raise Alarm

    old = signal.signal(signal.SIGALRM, raise_it)
    acknowledged, unknown = 0, 0
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                topic.append(b"x")
                signal.setitimer(signal.ITIMER_REAL, 0)
                acknowledged += 1
            except Alarm as alarm:
                unknown += 1
                for note in getattr(alarm, "__notes__", ()):
                    assert "unknown" in note
                    assert "'t'" in note
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert acknowledged <= topic.end_offset <= acknowledged + unknown
