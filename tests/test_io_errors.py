"""A disk that fails: each kind of error at each operation, on each way; what a failed flush means; when a sync returns.

The faults and the trace are the debug build's: the workloads run in processes of their own, with that.
"""
import json
import subprocess

import pytest

from tests import child as children
from tests import trace

EXTENT_MAGIC = b"WX"
SYNCS = 150


def run(debug_build, module, *arguments, **env):
    env = {**children.environment(**env), "PYTHONPATH": str(debug_build)}
    command = children.command(module, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=env)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


@pytest.mark.storage
@pytest.mark.parametrize("fault, outcomes", [
    ("flush:{n}:EIO", {"open: OSError", "LogFailedError", "close: LogFailedError"}),
    ("write:{n}:EIO", {"open: OSError", "LogFailedError", "close: LogFailedError"}),
    ("complete:{n}:EIO", {"LogFailedError", "close: LogFailedError"}),
    ("submit:{n}:EIO", {"LogFailedError", "close: LogFailedError"}),
    ("write:{n}:ENOSPC", {"open: StorageFullError", "LogFailedError", "StorageFullError", "close: LogFailedError",
                          "close: StorageFullError"}),
    ("allocate:{n}:ENOSPC", {"open: StorageFullError", "StorageFullError", "close: StorageFullError"}),
    ("allocate:{n}:ENOSPC:always", {"open: StorageFullError", "StorageFullError", "close: StorageFullError"}),
], ids=lambda value: value.replace("{n}:", "") if isinstance(value, str) else "")
def test_whatever_fails_is_told_and_nothing_durable_is_lost(debug_build, open_log, tmp_path, way, fault, outcomes):
    """Each run compares what is there at the failure, after opening again, and after more work: tests/faulty.py."""
    with open_log("probe") as log:
        io = log.stats().io
    if fault.startswith(("complete", "submit")) and io != "io_uring":
        pytest.skip("of the ring alone")
    found = json.loads(run(debug_build, "tests.faulty", tmp_path, way, fault))
    assert sum(found.values()) >= 10
    assert set(found) - {"unseen"} <= outcomes
    assert sum(count for outcome, count in found.items() if outcome != "unseen") >= 5, found


@pytest.mark.storage
def test_short_transfers_are_continued_unseen(debug_build, tmp_path, way):
    assert set(json.loads(run(debug_build, "tests.faulty", tmp_path, way, "write:{n}:short"))) == {"unseen"}


@pytest.mark.storage
def test_a_sync_returns_only_when_every_extent_before_it_is_flushed(debug_build, child, tmp_path, way):
    """Also those in files that the I/O thread is flushing just then, for they are full."""
    path = tmp_path / "trace"
    child.run(f"""
        from tests import trace
        log = open_log(staging_bytes=1 << 20, log_file_bytes=256 << 10, fsync_schedule=FsyncSchedule.NoFsync)
        fd = os.open({str(path)!r}, os.O_WRONLY | os.O_APPEND)
        topic = log.topic("t")
        for _ in range({SYNCS}):
            for _ in range(3):
                topic.append(bytes(60_000))
            log.sync()
            trace.mark(fd, b"synced")
        os._exit(0)
    """, debug=debug_build, env={"WALRUS_TRACE": str(path)})
    names, extents, written, flushed, begun, syncs = {}, {}, {}, {}, {}, 0
    for record in trace.read(path):
        if record.op in ("CREATE", "OPEN"):
            names[record.file] = record.name
        elif record.op == "WRITE_BEGIN" and names[record.file].startswith("log-") and record.data[4:6] == EXTENT_MAGIC:
            extents[record.sequence] = record.file
        elif record.op == "WRITE_END" and record.sequence in extents:
            written[record.file] = written.get(record.file, 0) + 1
        elif record.op == "FLUSH_BEGIN":
            begun[record.sequence] = written.get(record.file, 0)
        elif record.op == "FLUSH_END":
            flushed[record.file] = max(flushed.get(record.file, 0), begun[record.sequence])
        elif record.op == "MARK":
            syncs += 1
            behind = {names[file] for file, count in written.items() if flushed.get(file, 0) < count}
            assert not behind, f"sync {syncs} returned before {behind} were flushed"
    assert syncs == SYNCS and len(written) > 50


FLUSH_FAILS = """
    from tests.native.device_build import load_device_probe
    set_faults = load_device_probe().set_faults
    log = open_log(fsync_schedule={schedule})
    topic = log.topic("t")
    assert topic.append(b"durable") == 0
    log.sync()
    set_faults(b"flush:1:EIO")
    try:
        for i in range(1000):
            topic.append(b"unknown")
            time.sleep(0.005)
        raise AssertionError("no error")
    except walrus.LogFailedError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        assert error.errno == 5 and error.filename.startswith(path), error
        assert ("unknown" in notes) == ({schedule} == FsyncSchedule.SyncEach), notes
    assert topic.durable_offset == 1
    assert [entry.data for entry in topic.read()] == [b"durable"]
    cursor = topic.cursor("c")
    assert cursor.read_batch().tolist() == [b"durable"]
    for attempt in (log.sync, lambda: topic.append(b"x"), log.reclaim, log.sync, cursor.commit,
                    lambda: log.seek_for_topic("t", 1)):
        try:
            attempt()
        except walrus.LogFailedError:
            continue
        raise AssertionError(str(attempt) + " was taken on by a failed log")
    assert topic.durable_offset == 1 and log.stats().failed
    assert cursor.committed == 0
    try:
        log.close()
        raise AssertionError("a failed log was closed as if nothing had been")
    except walrus.LogFailedError:
        pass
    log = open_log()
    found = [entry.data for entry in log.topic("t").read()]
    assert 1 <= len(found) <= i + 2 and found == [b"durable", *[b"unknown"] * (len(found) - 1)]
    log.topic("t").append(b"after")
    log.sync()
    log.close()
"""


@pytest.mark.storage
@pytest.mark.parametrize("schedule", ["FsyncSchedule.SyncEach", "FsyncSchedule.Milliseconds(10)"])
def test_a_failed_flush_ends_what_the_schedule_promises_at_once(debug_build, child, schedule):
    child.run(FLUSH_FAILS.format(schedule=schedule), debug=debug_build)


@pytest.mark.storage
def test_one_range_that_cannot_be_read_fails_alone(debug_build, child):
    """EIO at a read: an OSError with the offset; other offsets read on, and the same one when the disk can again."""
    child.run("""
        from tests.native.device_build import load_device_probe
        set_faults = load_device_probe().set_faults
        expected = [b"%d" % i * 2000 for i in range(600)]
        with open_log(chunk_bytes_max=16 << 10) as log:
            for data in expected:
                log.topic("t").append(data)
        log = open_log()
        topic, wanted = log.topic("t"), list(range(0, 600, 7))
        set_faults(b"read:1:EIO:always")
        for attempt in (lambda: topic.read_batch(300), lambda: topic.read_many([300, *wanted]),
                        lambda: next(topic.read(300))):
            try:
                attempt()
            except OSError as error:
                assert error.errno == 5 and not isinstance(error, walrus.WalrusError), error
                assert "offset 300" in str(error) and " at byte " in str(error), error
                assert os.path.basename(error.filename).startswith("log-"), error
                continue
            raise AssertionError("read from a disk that cannot be read")
        set_faults(b"read:5:EIO,read:6:EIO")
        assert topic.read_many(wanted).tolist() == [expected[i] for i in wanted]    # read once more, it is there
        set_faults(b"")
        assert [entry.data for entry in topic.read()] == expected
        assert not log.stats().failed
        log.close()
    """, debug=debug_build)
