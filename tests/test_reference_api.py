"""The names of the Rust crate, as its users know them, with their semantics."""
import threading
import time

import pytest

import walrus
from walrus import FsyncSchedule, ReadConsistency, Walrus

CONSTRUCTORS = {
    "new": lambda: Walrus.new(),
    "with_consistency": lambda: Walrus.with_consistency(ReadConsistency.StrictlyAtOnce),
    "with_consistency_and_schedule": lambda: Walrus.with_consistency_and_schedule(
        ReadConsistency.AtLeastOnce(persist_every=1000), FsyncSchedule.Milliseconds(200)),
    "new_for_key": lambda: Walrus.new_for_key("billing"),
    "with_consistency_for_key": lambda: Walrus.with_consistency_for_key("billing", ReadConsistency.StrictlyAtOnce),
    "with_consistency_and_schedule_for_key": lambda: Walrus.with_consistency_and_schedule_for_key(
        "billing", ReadConsistency.AtLeastOnce(persist_every=1000), FsyncSchedule.NoFsync),
    "builder": lambda: Walrus.builder().key("billing").consistency(ReadConsistency.StrictlyAtOnce).fsync_schedule(
        FsyncSchedule.SyncEach).build(),
}


@pytest.mark.parametrize("make", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructors_open_below_the_data_directory(make, tmp_path, monkeypatch):
    monkeypatch.setenv("WALRUS_DATA_DIR", str(tmp_path / "data"))
    with make() as log:
        assert isinstance(log, Walrus)
        assert log.append_for_topic("t", b"x") == 0
        assert log.read_next("t", True) == b"x"
        assert log.path.startswith(str(tmp_path / "data"))
        assert ("billing" in log.path) == (make is not CONSTRUCTORS["new"] and not log.path.endswith("data"))


def test_the_builder_takes_a_directory_and_ignores_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("WALRUS_DATA_DIR", str(tmp_path / "not here"))
    monkeypatch.setenv("WALRUS_INSTANCE_KEY", "nor here")
    with Walrus.builder().data_dir(tmp_path / "data").build() as log:
        assert log.path == str(tmp_path / "data")
    with Walrus.builder().data_dir(tmp_path / "data").key("k").build() as log:
        assert log.path == str(tmp_path / "data" / "k")


def test_open_gives_the_same_thing(tmp_path):
    with walrus.open(tmp_path / "x") as log:
        log.topic("t").append(b"x")
        assert log.read_next("t") == b"x"


@pytest.mark.storage
class TestReads:
    def test_a_peek_changes_nothing(self, log):
        log.batch_append_for_topic("t", [b"a", b"b"])
        for _ in range(3):
            assert log.read_next("t", False) == b"a"
            assert log.batch_read_for_topic("t", 100, False) == [b"a", b"b"]
        assert log.read_next("t", True) == b"a"
        assert log.read_next("t", False) == b"b"
        assert log.get_topic_entry_count("t") == 1

    def test_nothing_to_read(self, log):
        assert log.read_next("unknown", True) is None
        assert log.batch_read_for_topic("unknown", 100, True) == []
        assert log.topics() == []

    def test_batches_go_by_payload_bytes(self, log):
        log.batch_append_for_topic("t", [b"x" * 10] * 10)
        assert len(log.batch_read_for_topic("t", 30, True)) == 3
        assert len(log.batch_read_for_topic("t", 39, True)) == 3
        assert len(log.batch_read_for_topic("t", 1, True)) == 1
        assert len(log.batch_read_for_topic("t", 1000, True, max_entries=2)) == 2
        assert len(log.batch_read_for_topic("t", 1 << 20, True)) == 1

    def test_a_batch_has_at_most_two_thousand(self, log):
        for _ in range(3):
            log.batch_append_for_topic("t", [b"x"] * 1000)
        assert len(log.batch_read_for_topic("t", 1 << 30, True)) == 2000
        assert len(log.batch_read_for_topic("t", 1 << 30, True)) == 1000

    def test_from_an_offset_moves_no_cursor(self, log):
        log.batch_append_for_topic("t", [b"%d" % i for i in range(10)])
        assert log.batch_read_for_topic("t", 2, True, start_offset=7) == [b"7", b"8"]
        assert log.read_next("t") == b"0"
        assert log.batch_read_for_topic("t", 2, start_offset=10) == []
        with pytest.raises(walrus.OffsetOutOfRange):
            log.batch_read_for_topic("t", 2, start_offset=11)

    def test_the_shared_cursor_can_be_moved(self, log):
        log.batch_append_for_topic("t", [b"%d" % i for i in range(10)])
        log.seek_for_topic("t", 8)
        assert log.batch_read_for_topic("t", 100) == [b"8", b"9"]
        log.seek_for_topic("t", 0)
        assert log.read_next("t") == b"0"


@pytest.mark.storage
class TestCounts:
    def test_entries_not_yet_consumed(self, log):
        assert log.get_topic_entry_count("t") == 0
        log.batch_append_for_topic("t", [b"x"] * 5)
        log.append_for_topic("u", b"x")
        assert log.get_topic_entry_counts() == {"t": 5, "u": 1}
        log.read_next("t", True)
        log.read_next("t", False)
        assert log.get_topic_entry_count("t") == 4
        log.batch_read_for_topic("t", 100, True)
        assert log.get_topic_entry_counts() == {"t": 0, "u": 1}

    def test_size_is_payload_bytes(self, open_log):
        log = open_log()
        assert log.get_topic_size("t") == 0
        log.append_for_topic("t", b"x" * 100)
        log.batch_append_for_topic("t", [b"", b"y" * 23])
        assert log.get_topic_size("t") == 123
        log.read_next("t", True)
        assert log.get_topic_size("t") == 123
        log.close()
        assert open_log().get_topic_size("t") == 123

    def test_marks(self, open_log):
        log = open_log()
        assert log.topic_is_clean("unknown")
        log.append_for_topic("t", b"x")
        assert not log.topic_is_clean("t")
        log.mark_topic_clean("t")
        assert log.topic_is_clean("t")
        log.close()
        log = open_log()
        assert log.topic_is_clean("t")
        log.append_for_topic("t", b"x")
        assert not log.topic_is_clean("t")
        log.close()
        log = open_log()
        assert not log.topic_is_clean("t")
        log.mark_topic_clean("t")
        log.mark_topic_dirty("t")
        assert not log.topic_is_clean("t")

    def test_marks_survive_sigkill(self, open_log, child):
        child("""
            log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
            for topic in ("clean", "dirty again"):
                log.append_for_topic(topic, b"x")
                log.mark_topic_clean(topic)
            log.append_for_topic("dirty again", b"y")
            os.kill(os.getpid(), signal.SIGKILL)
        """).wait()
        log = open_log()
        assert log.topic_is_clean("clean")
        assert not log.topic_is_clean("dirty again")


SCHEDULES = [FsyncSchedule.NoFsync, FsyncSchedule.Milliseconds(50), FsyncSchedule.SyncEach]


@pytest.mark.storage
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
class TestConsistency:
    def killed_after(self, child, schedule, mode, reads, count=100):
        """A process consumes with `reads` and kills itself; what it was handed out."""
        process = child(f"""
            log = open_log(fsync_schedule={schedule!r}, consistency={mode!r})
            log.batch_append_for_topic("t", [b"%d" % i for i in range({count})])
            taken = []
            {reads}
            print(*(entry.decode() for entry in taken), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """)
        out, _ = process.communicate(timeout=60)
        return [int(number) for number in out.split()]

    def test_strictly_at_once_hands_nothing_out_twice(self, open_log, child, schedule):
        taken = self.killed_after(child, schedule, ReadConsistency.StrictlyAtOnce,
                                  'for _ in range(17): taken.append(log.read_next("t", True))\n'
                                  '            taken += log.batch_read_for_topic("t", 20, True)')
        log = open_log()
        rest = [int(entry) for entry in log.batch_read_for_topic("t", 1 << 20, True)]
        assert taken + rest == list(range(100))

    @pytest.mark.parametrize("every", [1, 10])
    def test_at_least_once_hands_at_most_n_out_again(self, open_log, child, schedule, every):
        taken = self.killed_after(child, schedule, ReadConsistency.AtLeastOnce(every),
                                  'for _ in range(57): taken.append(log.read_next("t", True))')
        log = open_log()
        first = int(log.read_next("t", True))
        assert taken[-1] + 1 - every <= first <= taken[-1]

    def test_at_least_once_in_batches_hands_at_most_one_call_out_again(self, open_log, child, schedule):
        taken = self.killed_after(child, schedule, ReadConsistency.AtLeastOnce(10),
                                  'for _ in range(3): taken += log.batch_read_for_topic("t", 1000, True, max_entries=25)')
        first = int(open_log().read_next("t", True))
        assert taken == list(range(75))
        assert first == 50


@pytest.mark.storage
def test_strict_reads_of_many_topics_share_flushes(open_log):
    """Group commit: eight consumers on eight topics wait for flushes together."""
    log = open_log(fsync_schedule=FsyncSchedule.SyncEach)
    for number in range(8):
        log.batch_append_for_topic(str(number), [b"x"] * 20)
    taken = [0] * 8

    def work(number):
        while log.read_next(str(number), True) is not None:
            taken[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    before = log.stats().syncs
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [20] * 8
    assert log.stats().syncs - before <= 160


def test_polling_costs_little(tmp_path):
    with walrus.open(tmp_path / "x", consistency=ReadConsistency.AtLeastOnce(1000)) as log:
        log.append_for_topic("t", b"x")
        log.read_next("t")
        before, began = log.stats(), time.monotonic()
        for _ in range(10_000):
            assert log.read_next("t", True) is None
        assert time.monotonic() - began < 2
        assert log.stats().reads == before.reads
