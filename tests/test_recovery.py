"""Recovery: what a killed process leaves, and what damage leaves, is opened again: nothing promised is lost without an error."""
import contextlib
import mmap
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

import walrus
from tests.native.reference import crc32c, patched
from walrus import FsyncSchedule

BLOCK = 4096
OPTIONS = {"staging_bytes": 4 << 20, "log_file_bytes": 4 << 20, "journal_file_bytes": 1 << 20,
           "fsync_schedule": FsyncSchedule.NoFsync, "timeout": 10}


def opened(path, **options):
    return walrus.open(path, **{**OPTIONS, **options})


def payload(topic, offset, length=200):
    return f"{topic} {offset} ".encode().ljust(length, b".")


def append(log, name, count, length=200):
    topic = log.topic(name)
    for offset in range(topic.end_offset, topic.end_offset + count):
        topic.append(payload(name, offset, length))


def killed(path, work, **options):
    """Runs work(log) in a child that is killed as soon as it returns, without a close."""
    pid = os.fork()
    if pid == 0:
        try:
            log = opened(path, **options)
            work(log)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "the child failed before it was killed"


def assert_whole(log, name, count, length=200):
    topic = log.topic(name)
    assert topic.end_offset == count
    assert [entry.data for entry in topic.read()] == [payload(name, offset, length) for offset in range(count)]


def readable(topic):
    """Offsets that can be read, and what could not."""
    offsets, errors, at = [], [], topic.oldest_offset
    while at < topic.end_offset:
        try:
            for entry in topic.read(at):
                offsets.append(entry.offset)
                at = entry.offset + 1
        except walrus.CorruptionError as error:
            errors.append(error)
            at = error.next_offset
    return offsets, errors


def copied(source, target):
    """The directory with its holes: the control file is a gigabyte of them."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-r", "--sparse=auto", source, target], check=True)
    return target


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def newest_slot(path):
    """The catalog's slots, newest first: (path, flags, stamp)."""
    rows = []
    for name in ("catalog.0", "catalog.1"):
        head = (path / name).read_bytes()[:160]
        rows.append((struct.unpack_from("<QQ", head, 72), path / name, struct.unpack_from("<I", head, 12)[0]))
    return sorted(rows, reverse=True)


# ------------------------------------------------------------------------------------------------------ after SIGKILL

@pytest.mark.parametrize("schedule", [FsyncSchedule.NoFsync, FsyncSchedule.SyncEach, FsyncSchedule.Milliseconds(5)])
def test_appends_that_returned_survive_sigkill(tmp_path, schedule):
    total = 0
    for count in (1, 40, 3000, 0, 7):
        killed(tmp_path, lambda log, n=count: [append(log, name, n) for name in "ab"], fsync_schedule=schedule)
        total += count
    with opened(tmp_path) as log:
        assert log.recovery.unclean
        for name in "ab":
            assert_whole(log, name, total)


def test_a_topic_that_only_staging_knows_comes_back_with_its_name(tmp_path):
    killed(tmp_path, lambda log: append(log, "täglich/1", 3))
    with opened(tmp_path) as log:
        assert log.topics() == ["täglich/1"]
        assert_whole(log, "täglich/1", 3)


def test_an_entry_larger_than_a_chunk_survives_sigkill(tmp_path):
    def work(log):
        append(log, "t", 2)
        append(log, "t", 1, 3_000_000)
        append(log, "t", 2)

    killed(tmp_path, work)
    killed(tmp_path, lambda log: append(log, "t", 1))
    with opened(tmp_path) as log:
        assert [len(entry.data) for entry in log.topic("t").read()] == [200, 200, 3_000_000, 200, 200, 200]


def test_a_batch_larger_than_a_chunk_survives_sigkill(tmp_path):
    batch = [payload("t", offset, 2000) for offset in range(2000)]
    killed(tmp_path, lambda log: log.topic("t").append_batch(batch))
    with opened(tmp_path) as log:
        assert [entry.data for entry in log.topic("t").read()] == batch


def test_committed_cursors_survive_sigkill(tmp_path):
    def work(log):
        append(log, "t", 20)
        cursor = log.topic("t").cursor("c")
        cursor.read_batch(max_bytes=1 << 20, max_entries=7)
        cursor.commit()

    killed(tmp_path, work)
    with opened(tmp_path) as log:
        assert log.topic("t").cursor("c").position == 7
    with opened(tmp_path) as log:
        assert not log.recovery.unclean
        assert log.topic("t").cursor("c").position == 7


def test_a_clean_close_leaves_nothing_to_recover(tmp_path):
    for _ in range(3):
        with opened(tmp_path) as log:
            append(log, "t", 100)
    with opened(tmp_path) as log:
        assert not log.recovery.unclean
        assert log.recovery.chunks_adopted == 0
        assert log.topic("t").durable_offset == 300
        assert_whole(log, "t", 300)


def test_opening_again_without_a_change_stays_clean(tmp_path):
    opened(tmp_path).close()
    for _ in range(3):
        with opened(tmp_path) as log:
            assert not log.recovery.unclean


def test_payload_bytes_of_a_topic_are_the_same_after_recovery(tmp_path):
    def work(log):
        append(log, "t", 5000)
        log.sync()
        append(log, "t", 11)

    killed(tmp_path, work)
    with opened(tmp_path) as log:
        assert log.topic("t").size_bytes == 5011 * 200


def test_full_files_are_listed_and_not_scanned(tmp_path):
    with opened(tmp_path) as log:
        append(log, "t", 10_000, 2000)
    with opened(tmp_path) as log:
        assert log.recovery.files_listed >= 3
        assert log.recovery.files_scanned <= 2
        assert_whole(log, "t", 10_000, 2000)


def test_recovery_that_is_killed_is_repeated(tmp_path):
    killed(tmp_path, lambda log: append(log, "t", 500))
    for _ in range(5):
        killed(tmp_path, lambda log: None)
    with opened(tmp_path) as log:
        assert_whole(log, "t", 500)


def test_another_size_of_staging_counts_from_the_next_clean_open(tmp_path):
    killed(tmp_path, lambda log: append(log, "t", 5))
    with opened(tmp_path, staging_bytes=8 << 20) as log:
        assert log.stats().staging_bytes < 8 << 20
        assert_whole(log, "t", 5)
    with opened(tmp_path, staging_bytes=8 << 20) as log:
        assert log.stats().staging_bytes >= 8 << 20
        assert_whole(log, "t", 5)


# ------------------------------------------------------------------------------------------------ after a power cut

LARGE = 60_000      # fills a chunk of its own, which is an extent of its own
EXTENT = LARGE + BLOCK - LARGE % BLOCK


def large(offset, mark):
    return f"{mark} {offset} ".encode().ljust(LARGE, b".")


def append_large(log, mark, names):
    """An entry to each of the topics in turn, an extent each; all but the last of a topic are on disk when it returns."""
    before = log.stats().extents
    for name in names:
        topic = log.topic(name)
        topic.append(large(topic.end_offset, mark))
        time.sleep(0.05)                            # so that extents are written in the order of the entries behind them
    wait_for(lambda: log.stats().extents >= before + len(names) - len(set(names)))


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)


def power_cut(path):
    """Nothing in memory was kept."""
    for name in ("staging", "control"):
        (path / name).unlink()


def test_what_one_recovery_cut_never_comes_back_in_a_later_one(tmp_path):
    killed(tmp_path, lambda log: append_large(log, "old", "ttttt"))
    power_cut(tmp_path)
    with open(tmp_path / "log-00000001", "r+b") as file:        # the second extent never reached the disk, the third did
        file.seek(BLOCK + EXTENT)
        file.write(bytes(EXTENT))
    killed(tmp_path, lambda log: append_large(log, "new", "tt"))   # its first extent closes the gap
    data = (tmp_path / "log-00000001").read_bytes()
    assert data.find(large(1, "new")) - data.find(large(0, "old")) == EXTENT
    assert data.find(large(2, "old")) - data.find(large(1, "new")) == EXTENT
    power_cut(tmp_path)
    with opened(tmp_path) as log:
        assert [entry.data for entry in log.topic("t").read()] == [large(0, "old"), large(1, "new")]
        assert log.recovery.ranges_damaged == 0


def test_what_was_cut_behind_the_gap_of_another_topic_never_comes_back(tmp_path):
    killed(tmp_path, lambda log: append_large(log, "old", "ttuutt"))        # on disk: t 0, u 0, t 1
    power_cut(tmp_path)
    data = (tmp_path / "log-00000001").read_bytes()
    gap = data.find(large(0, "old"), BLOCK + EXTENT) & -BLOCK
    assert gap == BLOCK + EXTENT
    assert data.find(large(1, "old")) > gap
    with open(tmp_path / "log-00000001", "r+b") as file:
        file.seek(gap)
        file.write(bytes(EXTENT))
    killed(tmp_path, lambda log: append_large(log, "new", "uu"))
    power_cut(tmp_path)
    with opened(tmp_path) as log:
        assert [entry.data for entry in log.topic("t").read()] == [large(0, "old")]
        assert [entry.data for entry in log.topic("u").read()] == [large(0, "new")]


def test_a_torn_tail_that_nobody_was_promised_is_cut(tmp_path):
    killed(tmp_path, lambda log: append_large(log, "old", "ttttt"))
    power_cut(tmp_path)
    flip(tmp_path / "log-00000001", BLOCK + 2 * EXTENT + 2000)      # the one behind it is valid, and cut as well
    with opened(tmp_path) as log:
        assert log.recovery.ranges_damaged == 0
        assert [entry.data for entry in log.topic("t").read()] == [large(0, "old"), large(1, "old")]
        log.topic("t").append(b"goes on")


def test_a_damaged_frame_in_a_file_that_no_snapshot_lists_costs_itself_alone(tmp_path):
    def work(log):
        append(log, "t", 6000)
        log.sync()
        before = log.stats().extents
        append(log, "t", 8000)                      # these say that those before were durable
        wait_for(lambda: log.stats().extents >= before + 1)

    killed(tmp_path, work)
    power_cut(tmp_path)
    file = tmp_path / "log-00000001"
    flip(file, file.read_bytes().index(b"t 1000 ") + 20)
    with opened(tmp_path) as log:
        assert log.recovery.ranges_damaged == 1
        offsets, errors = readable(log.topic("t"))
        assert [(error.offset, error.next_offset) for error in errors] == [(1000, 1001)]
        assert offsets == [i for i in range(log.topic("t").end_offset) if i != 1000] and len(offsets) > 6000


def test_a_damaged_frame_in_the_journal_costs_itself_alone(tmp_path):
    def work(log):
        for _ in range(2):                          # the second record says that the first one was durable
            append(log, "t", 10)
            log.sync()

    killed(tmp_path, work)
    power_cut(tmp_path)
    file = tmp_path / "journal-0"
    flip(file, file.read_bytes().index(b"t 5 ") + 20)
    with opened(tmp_path) as log:
        assert log.recovery.ranges_damaged == 1
        offsets, errors = readable(log.topic("t"))
        assert [(error.offset, error.next_offset) for error in errors] == [(5, 6)]
        assert offsets == [i for i in range(20) if i != 5]


def small_records(log):
    """A record of the journal for each of three syncs, and one for another topic."""
    for _ in range(3):
        append(log, "t", 1)
        log.sync()
    append(log, "u", 5)
    log.sync()


def assert_small_records(log, damaged):
    assert log.recovery.headers_damaged == damaged
    assert_whole(log, "t", 3)
    assert_whole(log, "u", 5)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_damaged_header_of_a_record_costs_nothing_that_was_durable(tmp_path, block):
    killed(tmp_path, small_records)
    power_cut(tmp_path)
    flip(tmp_path / "journal-0", block * BLOCK + 20)
    with opened(tmp_path) as log:
        assert_small_records(log, damaged=block != 0)   # whether the first one was of this use of the file nobody knows


@pytest.mark.parametrize("lost", [20, None], ids=["header", "all of it"])
def test_a_damaged_extent_that_nothing_of_its_topic_speaks_of_hides_nothing_behind_it(tmp_path, lost, caplog):
    def work(log):
        for name in ("before", "mute", "t", "u", "u"):      # nothing says of the last one of all that it was durable
            append(log, name, 1, 300_000)           # an extent each, no record of the journal
            log.sync()

    killed(tmp_path, work)
    power_cut(tmp_path)
    file = tmp_path / "log-00000001"
    data = file.read_bytes()
    begin, end = (data.index(name + b" 0 ...") // BLOCK * BLOCK for name in (b"mute", b"t"))
    assert data[begin + 4:begin + 6] == data[end + 4:end + 6] == b"WX"
    if lost:
        flip(file, begin + lost)
    else:
        with open(file, "r+b") as zeros:
            zeros.seek(begin)
            zeros.write(bytes(end - begin))
    with opened(tmp_path) as log:
        assert log.recovery.headers_damaged == 1
        assert "opening it met damage: 0 ranges of entries, 1 headers" in caplog.text
        assert [log.topic(name).end_offset for name in ("before", "t", "u")] == [1, 1, 2]
        if lost:                                    # its frame proves itself, where the catalog knows the topic
            assert_whole(log, "mute", 1, 300_000)


def test_what_is_written_behind_a_damaged_record_is_found_by_the_next_opening(tmp_path):
    killed(tmp_path, lambda log: (append(log, "lost", 1), log.sync(), append(log, "t", 1), log.sync(), append(log, "t", 1), log.sync()))
    power_cut(tmp_path)
    with open(tmp_path / "journal-0", "r+b") as file:
        file.seek(BLOCK)
        file.write(bytes(BLOCK))                    # the frame too
    killed(tmp_path, lambda log: (append(log, "u", 5), log.sync()))
    power_cut(tmp_path)
    with opened(tmp_path) as log:
        assert_whole(log, "lost", 1)
        assert [(error.offset, error.next_offset) for error in readable(log.topic("t"))[1]] == [(0, 1)]
        assert_whole(log, "u", 5)


def overwritten(path, old, new):
    """As a page of an earlier time would: the first place where `old` stands."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        at = memory.find(old)
        assert at >= 0
        memory[at:at + len(new)] = new


def test_a_name_that_a_chunk_had_for_another_topic_gives_no_entries_to_that(tmp_path):
    killed(tmp_path, lambda log: append(log, "alpha", 3))
    (tmp_path / "control").unlink()
    overwritten(tmp_path / "staging", b"alpha", b"omega")
    with opened(tmp_path) as log:
        assert log.topics() == []


def test_a_cursor_whose_name_the_table_has_lost_is_not_taken_for_another(tmp_path):
    killed(tmp_path, lambda log: (append(log, "t", 5), log.sync(), log.topic("t").cursor("first").commit(2)))
    overwritten(tmp_path / "control", b"first", b"other")
    with opened(tmp_path) as log:
        assert log.topic("t").cursor("other").committed == 0


# --------------------------------------------------------------------------------------------- a log that is being made

def test_a_log_whose_making_was_cut_short_opens_as_new(tmp_path):
    opened(tmp_path).close()
    for name in ("catalog.0", "catalog.1"):
        (tmp_path / name).write_bytes(bytes(16 * BLOCK))
    for name in ("staging", "control"):
        (tmp_path / name).unlink()
    with opened(tmp_path) as log:
        assert log.recovery.created
        append(log, "t", 3)
    with opened(tmp_path) as log:
        assert_whole(log, "t", 3)


def test_a_young_log_without_catalog_is_not_taken_for_a_new_one(tmp_path):
    killed(tmp_path, lambda log: append(log, "t", 3))
    for name in ("catalog.0", "catalog.1"):
        (tmp_path / name).write_bytes(bytes(16 * BLOCK))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith(("log-", "staging"))}
    with pytest.raises(walrus.CorruptionError, match="catalog"):
        opened(tmp_path)
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())


# ------------------------------------------------------------------------------------------------------------- damage

def filled(path, count=3000):
    """A log with durable entries of two topics in one log file that is not full."""
    with opened(path) as log:
        for begin in range(0, count, count // 10):
            append(log, "t", count // 10)
            append(log, "u", count // 10)
            log.sync()
            assert begin < log.topic("t").end_offset


def damage(path, data, pattern="[lj]o*"):
    """Flips a bit in `data` wherever it lies on the disk: in a log file, and in the journal that it was synced to."""
    files = 0
    for file in sorted(path.glob(pattern)):
        at = file.read_bytes().find(data)
        if at >= 0 and file.name != "lock":
            flip(file, at + 10)
            files += 1
    assert files, "lies nowhere"


def test_a_damaged_entry_costs_itself_and_the_topic_refuses_appends(tmp_path):
    filled(tmp_path)
    damage(tmp_path, payload("t", 1234))
    with opened(tmp_path) as log:
        topic = log.topic("t")
        assert log.recovery.ranges_damaged == 1
        assert topic.end_offset == 3000
        offsets, errors = readable(topic)
        assert offsets == [offset for offset in range(3000) if offset != 1234]
        assert [(error.offset, error.next_offset) for error in errors] == [(1234, 1235)]
        with pytest.raises(walrus.CorruptionError):
            topic.append(b"no")
        append(log, "u", 1)
        assert_whole(log, "u", 3001)
    with opened(tmp_path) as log:
        with pytest.raises(walrus.CorruptionError):
            log.topic("t").append(b"no")
        assert readable(log.topic("t"))[0] == [offset for offset in range(3000) if offset != 1234]


def test_what_is_damaged_in_an_extent_is_taken_from_the_journal(tmp_path):
    filled(tmp_path)
    damage(tmp_path, payload("t", 1234), "log-*")
    with opened(tmp_path) as log:
        assert log.recovery.ranges_damaged == 0
        assert_whole(log, "t", 3000)


def test_a_damaged_extent_header_costs_no_entry(tmp_path):
    filled(tmp_path)
    file = tmp_path / "log-00000001"
    flip(file, BLOCK + 20)
    with opened(tmp_path) as log:
        topic = log.topic("t")
        assert topic.end_offset == 3000
        offsets, errors = readable(topic)
        assert not errors
        assert offsets == list(range(3000))
        assert log.topic("u").end_offset == 3000


def test_a_damaged_table_is_made_up_for_by_a_scan(tmp_path):
    with opened(tmp_path) as log:
        append(log, "t", 10_000, 2000)
    data = (tmp_path / "log-00000001").read_bytes()
    flip(tmp_path / "log-00000001", data.rfind(b"WRFT") + 100)
    with opened(tmp_path) as log:
        assert log.recovery.ranges_damaged == 0
        assert_whole(log, "t", 10_000, 2000)


def test_a_damaged_head_of_a_log_file_loses_nothing(tmp_path):
    filled(tmp_path)
    flip(tmp_path / "log-00000001", 17)
    # Its log id is in the damaged part: it may be told as foreign, but never as empty.
    with contextlib.suppress(walrus.WalrusError), opened(tmp_path) as log:
        assert_whole(log, "t", 3000)


def test_a_missing_log_file_is_damage_and_not_a_short_log(tmp_path):
    with opened(tmp_path) as log:
        append(log, "t", 10_000, 2000)
    (tmp_path / "log-00000002").unlink()
    with opened(tmp_path) as log:
        topic = log.topic("t")
        assert topic.end_offset == 10_000
        offsets, errors = readable(topic)
        assert errors
        assert offsets[0] == 0
        assert offsets[-1] == 9999


def test_staging_that_vanished_in_the_same_boot_is_told(tmp_path):
    def work(log):
        append(log, "t", 10)
        log.sync()
        append(log, "t", 10)

    killed(tmp_path, work)
    (tmp_path / "staging").unlink()
    with opened(tmp_path) as log:
        topic = log.topic("t")
        assert topic.end_offset == 20
        offsets, errors = readable(topic)
        assert offsets == list(range(10))
        assert errors
        with pytest.raises(walrus.CorruptionError):
            topic.append(b"no")


def test_a_damaged_frame_in_staging_costs_itself(tmp_path):
    killed(tmp_path, lambda log: append(log, "t", 10))
    data = (tmp_path / "staging").read_bytes()
    flip(tmp_path / "staging", data.find(payload("t", 4)) + 20)
    with opened(tmp_path) as log:
        offsets, errors = readable(log.topic("t"))
        assert offsets == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        assert len(errors) == 1


def test_a_torn_newest_snapshot_gives_way_to_the_older(tmp_path):
    filled(tmp_path)
    flip(newest_slot(tmp_path)[0][1], 100)
    with opened(tmp_path) as log:
        assert log.recovery.older_catalog
        assert log.recovery.unclean
        assert_whole(log, "t", 3000)


def test_without_any_snapshot_nothing_is_touched(tmp_path):
    filled(tmp_path)
    for name in ("catalog.0", "catalog.1"):
        flip(tmp_path / name, 100)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.name != "lock"}
    with pytest.raises(walrus.CorruptionError, match="catalog"):
        opened(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.name != "lock"} == before


def test_a_foreign_log_file_is_named(tmp_path):
    filled(tmp_path / "a")
    filled(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "log-00000001", tmp_path / "a" / "log-00000009")
    with pytest.raises(walrus.WalrusError, match="log-00000009"):
        opened(tmp_path / "a")


def test_a_newer_catalog_is_refused_with_its_version(tmp_path):
    filled(tmp_path, 10)
    slot = newest_slot(tmp_path)[0][1]
    data = slot.read_bytes()
    size = struct.unpack_from("<Q", data, 16)[0]
    data = patched(data, 8, "I", 7)
    slot.write_bytes(struct.pack("<I", crc32c(data[4:size])) + data[4:])
    with pytest.raises(walrus.VersionError, match="7"):
        opened(tmp_path)


def test_truncated_files_never_crash_and_never_shorten_silently(tmp_path):
    filled(tmp_path / "whole", 300)
    for name in sorted(file.name for file in (tmp_path / "whole").iterdir() if file.name != "lock"):
        size = (tmp_path / "whole" / name).stat().st_size
        for keep in (0, 100, BLOCK, size // 2 & -BLOCK, size - 1):
            copy = copied(tmp_path / "whole", tmp_path / "copy")
            os.truncate(copy / name, keep)
            told_or_whole(copy)


def told_or_whole(path: Path):
    """Opening refuses with an error of ours, or each entry is there, or reading says what is not."""
    with contextlib.suppress(walrus.WalrusError), opened(path) as log:
        for name in "tu":
            offsets, errors = readable(log.topic(name))
            assert errors or offsets == list(range(300)), f"{path}: {len(offsets)} of 300, and nothing was said"


@pytest.mark.parametrize("name", ["catalog.0", "catalog.1", "journal-0", "staging", "control", "log-00000001"])
def test_flipped_bits_never_crash_and_never_shorten_silently(tmp_path, name):
    filled(tmp_path / "whole", 300)
    size = (tmp_path / "whole" / name).stat().st_size
    for position in [*range(0, 164, 11), *range(BLOCK, BLOCK + 300, 23), size // 2]:
        copy = copied(tmp_path / "whole", tmp_path / "copy")
        if position < size:
            flip(copy / name, position)
        told_or_whole(copy)
