"""The Python API: appending, batches, reading, cursors, following, statistics, the end of a log's life."""
import array
import gc
import importlib.util
import os
import threading
import time
import warnings

import pytest

import walrus
from walrus import FsyncSchedule, ReadConsistency

pytestmark = pytest.mark.storage


def payloads(topic, start=None):
    return [entry.data for entry in topic.read(start)]


class TestAppend:
    def test_offsets_are_dense_and_entries_come_back_in_order(self, log):
        topic = log.topic("orders")
        assert [topic.append(b"%d" % i) for i in range(1000)] == list(range(1000))
        assert [(entry.offset, entry.data) for entry in topic.read()] == [(i, b"%d" % i) for i in range(1000)]
        assert topic.end_offset == 1000
        assert topic.oldest_offset == 0

    @pytest.mark.parametrize("data", [b"ab", bytearray(b"ab"), memoryview(b"ab"), array.array("B", b"ab"),
                                      memoryview(b"xabx")[1:3]], ids=lambda data: type(data).__name__)
    def test_any_contiguous_buffer_is_an_entry(self, log, data):
        topic = log.topic("t")
        topic.append(data)
        topic.append_batch([data, b"c"])
        assert payloads(topic) == [b"ab", b"ab", b"c"]

    def test_numpy_arrays_are_entries(self, log):
        numpy = pytest.importorskip("numpy")
        topic = log.topic("t")
        values = numpy.arange(1000, dtype=numpy.int32)
        topic.append(values)
        assert payloads(topic) == [values.tobytes()]

    @pytest.mark.parametrize("data", ["text", 5, None, 1.5, [b"a"], object()], ids=lambda data: type(data).__name__)
    def test_what_has_no_bytes_is_a_type_error_and_changes_nothing(self, log, data):
        topic = log.topic("t")
        with pytest.raises(TypeError):
            topic.append(data)
        with pytest.raises(TypeError):
            topic.append_batch([b"first", data])
        assert log.topics() == []

    def test_a_buffer_with_gaps_is_refused_with_the_way_out(self, log):
        with pytest.raises(BufferError, match="contiguous"):
            log.topic("t").append(memoryview(b"abcdef")[::2])

    def test_a_buffer_that_was_released_is_refused_with_the_reason(self, log):
        with memoryview(b"abcdef") as released:
            pass
        with pytest.raises(BufferError, match="released"):
            log.topic("t").append(released)

    @pytest.mark.parametrize("length", [0, 1, 7, 8, 4095, 4096, 65536, 1 << 20, (5 << 20) + 3])
    def test_every_length_comes_back(self, log, length):
        data = os.urandom(length)
        topic = log.topic("t")
        topic.append(b"before")
        assert topic.append(data) == 1
        topic.append(b"after")
        assert payloads(topic) == [b"before", data, b"after"]

    def test_timestamps_are_of_the_append(self, log):
        before = time.time_ns()
        log.topic("t").append(b"x")
        [entry] = log.topic("t").read()
        assert before <= entry.timestamp_ns <= time.time_ns()

    def test_threads_append_to_one_topic_and_to_many(self, log):
        def work(number):
            for i in range(500):
                log.topic("one").append(b"%d %d" % (number, i))
                log.topic(f"own {number}").append(b"%d" % i)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(payloads(log.topic("one"))) == sorted(b"%d %d" % (n, i) for n in range(8) for i in range(500))
        for number in range(8):
            assert payloads(log.topic(f"own {number}")) == [b"%d" % i for i in range(500)]


class TestBatch:
    @pytest.mark.parametrize("make", [list, tuple, iter, lambda items: (item for item in items)],
                             ids=["list", "tuple", "iterator", "generator"])
    def test_any_iterable_is_a_batch(self, log, make):
        topic = log.topic("t")
        topic.append(b"first")
        assert topic.append_batch(make([b"a", b"", b"ccc"])) == 1
        assert payloads(topic) == [b"first", b"a", b"", b"ccc"]

    def test_one_buffer_with_lengths_is_a_batch(self, log):
        topic = log.topic("t")
        assert topic.append_batch(data=b"abbccc", lengths=[1, 2, 0, 3]) == 0
        assert topic.append_batch(data=bytearray(b"xy"), lengths=array.array("q", [1, 1])) == 4
        assert payloads(topic) == [b"a", b"bb", b"", b"ccc", b"x", b"y"]

    @pytest.mark.parametrize("lengths", [[6.0], [None], ["6"], array.array("d", [6.0])], ids=str)
    def test_lengths_that_are_no_ints_are_a_type_error_and_change_nothing(self, log, lengths):
        with pytest.raises(TypeError, match=r"lengths\[0\]"):
            log.topic("t").append_batch(data=b"abcdef", lengths=lengths)
        assert log.topics() == []

    @pytest.mark.parametrize("lengths", [[1, 2], [7], [-1, 7], [3, 4], [1 << 62, 1 << 62]])
    def test_lengths_that_do_not_fit_the_buffer_change_nothing(self, log, lengths):
        with pytest.raises(ValueError):
            log.topic("t").append_batch(data=b"abcdef", lengths=lengths)
        assert log.topics() == []

    def test_two_thousand_entries_are_a_batch_and_one_more_is_not(self, log):
        topic = log.topic("t")
        assert topic.append_batch([b"x"] * walrus.MAX_BATCH_ENTRIES) == 0
        with pytest.raises(ValueError, match="MAX_BATCH_ENTRIES"):
            topic.append_batch([b"x"] * (walrus.MAX_BATCH_ENTRIES + 1))
        assert topic.end_offset == walrus.MAX_BATCH_ENTRIES

    def test_an_endless_iterable_is_refused(self, log):
        with pytest.raises(ValueError, match="MAX_BATCH_ENTRIES"):
            log.topic("t").append_batch(iter(lambda: b"x", b"y"))

    def test_an_iterable_that_fails_changes_nothing(self, log):
        def entries():
            yield b"a"
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            log.topic("t").append_batch(entries())
        assert log.topics() == []

    def test_an_empty_batch_gives_the_end(self, log):
        topic = log.topic("t")
        assert topic.append_batch([]) == 0
        assert log.topics() == []
        topic.append(b"x")
        assert topic.append_batch(iter(())) == 1

    def test_a_large_batch_comes_back_whole(self, log):
        entries = [os.urandom(i * 7 % 9000) for i in range(2000)]
        topic = log.topic("t")
        topic.append_batch(entries)
        assert payloads(topic) == entries

    def test_several_topics_at_once(self, log):
        log.topic("a").append(b"0")
        assert log.append_batch({"a": [b"1", b"2"], "b": [b"3"], "c": []}) == {"a": 1, "b": 0, "c": 0}
        assert payloads(log.topic("a")) == [b"0", b"1", b"2"]
        assert payloads(log.topic("b")) == [b"3"]
        assert log.topics() == ["a", "b"]

    def test_several_topics_are_checked_before_the_first_is_written(self, log):
        with pytest.raises(TypeError):
            log.append_batch({"a": [b"1"], "b": ["text"]})
        with pytest.raises(ValueError, match="1024"):
            log.append_batch({"a": [b"1"], "b" * 1025: [b"x"]})
        assert log.topics() == []

    def test_a_list_that_changes_while_it_is_appended_does_no_harm(self, log):
        topic, entries, stop = log.topic("t"), [b"x" * 5000] * 100, threading.Event()

        def change():
            while not stop.is_set():
                entries[:] = [os.urandom(5000) for _ in range(50)]

        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(50):
            topic.append_batch(entries)
        stop.set()
        thread.join()
        assert all(len(data) == 5000 for data in payloads(topic))


class TestRead:
    def test_from_an_offset_and_at_the_end(self, log):
        topic = log.topic("t")
        topic.append_batch([b"%d" % i for i in range(10)])
        assert payloads(topic, 7) == [b"7", b"8", b"9"]
        assert payloads(topic, 10) == []
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            topic.read(11)
        assert (caught.value.topic, caught.value.offset, caught.value.oldest, caught.value.end) == ("t", 11, 0, 10)
        with pytest.raises(ValueError):
            topic.read(-1)

    def test_reads_what_was_there_when_it_began(self, log):
        topic = log.topic("t")
        topic.append(b"0")
        reading = topic.read()
        topic.append(b"1")
        assert [entry.data for entry in reading] == [b"0"]

    def test_of_an_unknown_topic_makes_none(self, log):
        topic = log.topic("t")
        assert payloads(topic) == []
        assert len(topic.read_batch()) == 0
        assert topic.end_offset == topic.oldest_offset == topic.durable_offset == topic.size_bytes == 0
        assert log.topics() == []
        with pytest.raises(walrus.OffsetOutOfRange):
            topic.read(1)

    def test_an_entry_shows_what_it_holds(self, log):
        log.topic("t").append(b"abc")
        [entry] = log.topic("t").read()
        assert repr(entry) == f"Entry(offset=0, data=b'abc', timestamp_ns={entry.timestamp_ns})"
        [again] = log.topic("t").read()
        assert entry == again
        assert hash(entry) == hash(again)

    def test_an_entry_outlives_its_log(self, log):
        log.topic("t").append(b"abc")
        batch = log.topic("t").read_batch()
        view = memoryview(batch)
        log.close()
        assert batch[0] == view.tobytes() == b"abc"


class TestBatchRead:
    def test_is_a_sequence_of_payloads_with_offsets_beside(self, log):
        topic = log.topic("t")
        topic.append_batch([b"a", b"bb", b"", b"cccc"])
        batch = topic.read_batch()
        assert len(batch) == 4
        assert list(batch) == batch.tolist() == [b"a", b"bb", b"", b"cccc"]
        assert batch[0] == b"a"
        assert batch[-1] == b"cccc"
        assert batch[1:3] == [b"bb", b""]
        assert batch.offsets.tolist() == [0, 1, 2, 3]
        assert batch.payload_bytes == 7
        assert bytes(memoryview(batch)) == b"abbcccc"
        assert [entry.offset for entry in batch.entries()] == [0, 1, 2, 3]
        with pytest.raises(IndexError):
            batch[4]

    def test_gives_numpy_arrays(self, log):
        numpy = pytest.importorskip("numpy")
        topic = log.topic("t")
        topic.append_batch([b"a", b"bb", b"", b"cccc"])
        payload, positions = topic.read_batch().to_numpy()
        assert (payload.dtype, positions.dtype) == (numpy.uint8, numpy.int64)
        assert payload.tobytes() == b"abbcccc"
        assert positions.tolist() == [0, 1, 3, 3, 7]
        payload, positions = topic.read_batch(4).to_numpy()
        assert payload.tolist() == []
        assert positions.tolist() == [0]
        # What was read is what a batch takes again.
        payload, positions = topic.read_batch().to_numpy()
        assert log.topic("copy").append_batch(data=payload, lengths=numpy.diff(positions)) == 0
        assert payloads(log.topic("copy")) == [b"a", b"bb", b"", b"cccc"]

    def test_gives_an_arrow_array_or_says_what_is_missing(self, log):
        topic = log.topic("t")
        topic.append_batch([b"a", b"bb", b""])
        if importlib.util.find_spec("pyarrow") is None:
            with pytest.raises(ImportError, match="pip install pyarrow"):
                topic.read_batch().to_arrow()
        else:
            assert topic.read_batch().to_arrow().to_pylist() == [b"a", b"bb", b""]

    @pytest.mark.parametrize("options", [{"max_bytes": -1}, {"max_entries": 0}, {"max_entries": 2001}])
    def test_bounds_out_of_range_are_value_errors(self, log, options):
        with pytest.raises(ValueError):
            log.topic("t").cursor("c").read_batch(**options)

    def test_bounds_hold(self, log):
        topic = log.topic("t")
        topic.append_batch([b"x" * 10] * 20)
        assert len(topic.read_batch(max_bytes=35)) == 3
        assert len(topic.read_batch(max_bytes=0)) == 1
        assert len(topic.read_batch(max_entries=7)) == 7
        assert len(topic.read_batch(max_bytes=1 << 70)) == 20


class TestCursor:
    def test_reads_on_where_it_committed(self, open_log):
        log = open_log()
        log.topic("t").append_batch([b"%d" % i for i in range(10)])
        cursor = log.topic("t").cursor("billing")
        assert cursor.read_batch(max_entries=4).tolist() == [b"0", b"1", b"2", b"3"]
        assert (cursor.position, cursor.committed, cursor.lag) == (4, 0, 6)
        cursor.commit()
        assert cursor.committed == 4
        assert cursor.read_next().offset == 4
        log.close()
        cursor = open_log().topic("t").cursor("billing")
        assert (cursor.position, cursor.committed, cursor.lag) == (4, 4, 6)
        assert cursor.read_next().data == b"4"

    def test_two_handles_of_a_name_are_one_cursor_and_names_are_independent(self, log):
        topic = log.topic("t")
        topic.append_batch([b"0", b"1", b"2"])
        assert topic.cursor("a").read_next().offset == 0
        assert topic.cursor("a").read_next().offset == 1
        assert topic.cursor("b").read_next().offset == 0

    def test_seeks_within_the_topic(self, log):
        topic = log.topic("t")
        topic.append_batch([b"%d" % i for i in range(10)])
        cursor = topic.cursor("c")
        cursor.seek(8)
        assert [cursor.read_next().data, cursor.read_next().data, cursor.read_next()] == [b"8", b"9", None]
        cursor.seek(0)
        assert cursor.read_next().data == b"0"
        cursor.seek(10)
        with pytest.raises(walrus.OffsetOutOfRange):
            cursor.seek(11)
        with pytest.raises(walrus.OffsetOutOfRange):
            cursor.commit(11)
        assert cursor.position == 10

    def test_of_an_unknown_topic_makes_none(self, log):
        cursor = log.topic("t").cursor("c")
        assert cursor.read_next() is None
        assert len(cursor.read_batch()) == 0
        cursor.commit()
        assert (cursor.lag, cursor.position, cursor.committed) == (0, 0, 0)
        assert log.topics() == []
        log.topic("t").append(b"x")
        assert cursor.read_next().data == b"x"

    def test_batches_and_single_reads_mix(self, log):
        topic = log.topic("t")
        topic.append_batch([b"%d" % i for i in range(10)])
        cursor, taken = topic.cursor("c"), []
        while cursor.lag:
            taken.append(cursor.read_next().data)
            taken += cursor.read_batch(max_entries=2)
        assert taken == [b"%d" % i for i in range(10)]

    def test_threads_share_it_and_each_entry_goes_to_one(self, log):
        topic = log.topic("t")
        topic.append_batch([b"%d" % i for i in range(2000)])
        taken = []

        def work(cursor):
            while (entry := cursor.read_next()) is not None:
                taken.append(entry.offset)
                taken.extend(cursor.read_batch(max_entries=3).offsets)

        threads = [threading.Thread(target=work, args=(topic.cursor("c"),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == list(range(2000))


class TestFollow:
    @pytest.mark.parametrize("schedule", [FsyncSchedule.NoFsync, FsyncSchedule.SyncEach])
    def test_gives_entries_as_they_come(self, open_log, schedule):
        log = open_log(fsync_schedule=schedule)

        def produce():
            for i in range(50):
                log.topic("t").append(b"%d" % i)
                time.sleep(0.002)

        thread = threading.Thread(target=produce)
        thread.start()
        taken = []
        for entry in log.topic("t").cursor("c").follow(timeout=5):
            taken.append(entry.data)
            if len(taken) == 50:
                break
        thread.join()
        assert taken == [b"%d" % i for i in range(50)]

    def test_ends_after_the_timeout(self, log):
        began = time.monotonic()
        assert list(log.topic("t").cursor("c").follow(timeout=0.1)) == []
        log.topic("t").append(b"x")
        assert len(list(log.topic("t").cursor("c").follow(timeout=0.1))) == 1
        assert 0.2 <= time.monotonic() - began < 2

    def test_commit_in_the_loop_stores_the_entry_at_hand(self, log):
        topic = log.topic("t")
        topic.append_batch([b"%d" % i for i in range(100)])
        cursor = topic.cursor("c")
        for entry in cursor.follow(timeout=0):
            cursor.commit()
            assert cursor.committed == entry.offset + 1
            if entry.offset == 9:
                break
        assert cursor.position == 10

    def test_closing_the_log_raises_in_it(self, log):
        threading.Timer(0.1, log.close).start()
        with pytest.raises(walrus.ClosedError):
            list(log.topic("t").cursor("c").follow())


class TestDurability:
    @pytest.mark.parametrize("schedule", [FsyncSchedule.NoFsync, FsyncSchedule.Milliseconds(200), FsyncSchedule.SyncEach],
                             ids=repr)
    def test_sync_is_durable_on_every_schedule(self, open_log, schedule):
        log = open_log(fsync_schedule=schedule)
        topic = log.topic("t")
        topic.append_batch([b"x"] * 10)
        log.sync()
        assert topic.durable_offset == 10

    def test_sync_each_is_durable_when_it_returns(self, open_log):
        topic = open_log(fsync_schedule=FsyncSchedule.SyncEach).topic("t")
        for i in range(5):
            topic.append(b"x")
            assert topic.durable_offset == i + 1

    def test_the_schedule_makes_durable_by_itself(self, open_log):
        topic = open_log(fsync_schedule=FsyncSchedule.Milliseconds(10)).topic("t")
        topic.append(b"x")
        deadline = time.monotonic() + 5
        while topic.durable_offset < 1:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def test_everything_is_there_again_after_reopening(self, open_log):
        log = open_log()
        for i in range(3000):
            log.topic(f"topic {i % 7}").append(b"%d" % i * (i % 50))
        log.close()
        log = open_log()
        assert log.topics() == [f"topic {i}" for i in range(7)]
        for number in range(7):
            assert payloads(log.topic(f"topic {number}")) == [b"%d" % i * (i % 50) for i in range(number, 3000, 7)]
        assert not log.recovery.unclean

    def test_everything_is_there_again_after_sigkill(self, open_log, child):
        process = child("""
            log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
            for i in range(5000):
                log.topic(f"topic {i % 7}").append(b"%d" % i * (i % 50))
            os.kill(os.getpid(), signal.SIGKILL)
        """)
        process.wait()
        log = open_log()
        assert log.recovery.unclean
        for number in range(7):
            assert payloads(log.topic(f"topic {number}")) == [b"%d" % i * (i % 50) for i in range(number, 5000, 7)]


class TestSpace:
    def test_what_every_cursor_has_passed_is_reclaimed(self, open_log):
        log = open_log(retention="consumed")
        topic = log.topic("t")
        for _ in range(20):
            topic.append_batch([os.urandom(1000) for _ in range(500)])
        cursor = topic.cursor("c")
        cursor.seek(9000)
        log.reclaim()
        assert topic.oldest_offset == 0
        cursor.commit()
        log.sync()
        log.reclaim()
        assert 0 < topic.oldest_offset <= 9000
        assert len(list(topic.read(9000))) == 1000
        with pytest.raises(walrus.OffsetOutOfRange) as caught:
            topic.read(0)
        assert caught.value.oldest == topic.oldest_offset

    def test_the_default_keeps_all(self, log):
        topic = log.topic("t")
        for _ in range(10):
            topic.append_batch([os.urandom(1000) for _ in range(500)])
        cursor = topic.cursor("c")
        cursor.seek(5000)
        cursor.commit()
        log.sync()
        log.reclaim()
        assert topic.oldest_offset == 0


class TestLife:
    def test_closing_twice_is_nothing(self, log):
        log.close()
        log.close()
        assert log.closed

    def test_a_closed_log_refuses_everything(self, log):
        topic, cursor = log.topic("t"), log.topic("t").cursor("c")
        topic.append(b"x")
        reading = topic.read()
        log.close()
        for call in (lambda: topic.append(b"x"), lambda: topic.append_batch([b"x"]), lambda: topic.append_batch([]),
                     lambda: next(reading), cursor.read_next, cursor.read_batch, cursor.commit, lambda: cursor.seek(0), log.sync,
                     log.reclaim, log.topics, lambda: log.topic("t"), lambda: topic.end_offset, lambda: cursor.lag):
            with pytest.raises(walrus.ClosedError, match=r"walrus\.open"):
                call()
        assert log.stats().appends >= 0

    def test_a_with_block_closes(self, open_log):
        with open_log() as log:
            log.topic("t").append(b"x")
        assert log.closed
        assert payloads(open_log().topic("t")) == [b"x"]

    def test_a_log_that_is_dropped_warns_and_is_closed(self, tmp_path, way):
        log = walrus.open(tmp_path / "dropped", backend=way)
        log.topic("t").append(b"x")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del log
            gc.collect()
        assert [str(warning.message)[:12] for warning in caught if warning.category is ResourceWarning] == ["unclosed log"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with walrus.open(tmp_path / "dropped", backend=way) as log:
                assert payloads(log.topic("t")) == [b"x"]
                assert not log.recovery.unclean

    def test_the_interpreter_s_end_closes(self, open_log, child):
        child.run("log = open_log(fsync_schedule=FsyncSchedule.NoFsync); log.topic('t').append(b'x')")
        log = open_log()
        assert payloads(log.topic("t")) == [b"x"]
        assert not log.recovery.unclean

    def test_closing_waits_for_appends_of_other_threads(self, open_log):
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        acknowledged = [0] * 4

        def work(number):
            topic = log.topic(str(number))
            try:
                while True:
                    topic.append(b"x" * 5000)
                    acknowledged[number] += 1
            except walrus.ClosedError:
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        log.close()
        for thread in threads:
            thread.join()
        log = open_log()
        assert [log.topic(str(number)).end_offset for number in range(4)] == acknowledged

    def test_the_child_of_a_fork_is_refused_and_the_parent_goes_on(self, log):
        topic = log.topic("t")
        topic.append(b"parent")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for call in (lambda: topic.append(b"x"), log.sync, lambda: list(topic.read()), log.stats,
                             topic.cursor("c").read_next):
                    try:
                        call()
                    except walrus.ForkedError:
                        continue
                    os._exit(2)
                log.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        topic.append(b"still here")
        log.sync()
        assert payloads(topic) == [b"parent", b"still here"]


class TestStats:
    def test_says_which_way_is_in_use(self, log, way):
        stats = log.stats()
        assert stats.io == way or ((way, stats.io) == ("io_uring", "pwrite") and stats.io_fallback)

    def test_is_frozen(self, log):
        with pytest.raises(AttributeError):
            log.stats().appends = 1

    def test_opening_is_said_once_in_the_log(self, open_log, caplog, way, monkeypatch):
        with caplog.at_level("INFO", "walrus"):
            open_log()
        assert [record.name for record in caplog.records] == ["walrus"]
        assert way in caplog.text
        caplog.clear()
        monkeypatch.setenv("WALRUS_QUIET", "1")
        with caplog.at_level("INFO", "walrus"):
            open_log("quiet")
        assert caplog.records == []

    def test_recovery_says_what_opening_did(self, open_log):
        log = open_log()
        assert log.recovery.created
        log.close()
        assert not open_log().recovery.created


class TestOptions:
    @pytest.mark.parametrize("options", [
        {"staging_bytes": 5}, {"staging_bytes": -1}, {"log_file_bytes": 1}, {"journal_file_bytes": 1 << 60},
        {"chunk_bytes_max": 3000}, {"retention": "all"}, {"retention": 0}, {"retention": -5}, {"timeout": -1},
        {"timeout": float("nan")}, {"backend": "disk"},
    ], ids=str)
    def test_are_checked_when_given_and_named_in_the_error(self, tmp_path, options):
        [(name, value)] = options.items()
        with pytest.raises(ValueError) as caught:
            walrus.open(tmp_path / "x", **options)
        assert name in str(caught.value)
        assert repr(value) in str(caught.value)
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("options", [
        {"staging_bytes": "5"}, {"staging_bytes": True}, {"fsync_schedule": "each"}, {"consistency": 5},
        {"timeout": "1"}, {"key": 5},
    ], ids=str)
    def test_of_a_wrong_type_are_type_errors(self, tmp_path, options):
        with pytest.raises(TypeError):
            walrus.open(tmp_path / "x", **options)

    def test_missing_directories_are_made(self, tmp_path):
        walrus.open(tmp_path / "a" / "b" / "c").close()
        assert (tmp_path / "a" / "b" / "c").is_dir()

    def test_timeout_waits_for_the_other_writer(self, open_log):
        log = open_log()
        threading.Timer(0.2, log.close).start()
        assert open_log(timeout=10).topics() == []

    def test_schedules_and_modes_are_values(self):
        assert FsyncSchedule.Milliseconds(5) == FsyncSchedule.Milliseconds(5) != FsyncSchedule.SyncEach
        for attempt in (lambda: FsyncSchedule("weekly"), lambda: FsyncSchedule("milliseconds"), lambda: FsyncSchedule("sync_each", 5),
                        lambda: ReadConsistency(-5), lambda: ReadConsistency.AtLeastOnce(1 << 32)):
            with pytest.raises(ValueError, match=r"FsyncSchedule|AtLeastOnce"):
                attempt()
        for attempt in (lambda: ReadConsistency("10"), lambda: ReadConsistency.AtLeastOnce(False),
                        lambda: FsyncSchedule("milliseconds", 1.5)):
            with pytest.raises(TypeError):
                attempt()
        assert ReadConsistency.AtLeastOnce(0) == ReadConsistency.AtLeastOnce(persist_every=1)
        for number in (0, -1, 86_400_001):
            with pytest.raises(ValueError):
                FsyncSchedule.Milliseconds(number)
        with pytest.raises(ValueError):
            ReadConsistency.AtLeastOnce(-1)
