"""The control file: cursors' slot pairs under damage and SIGKILL, their owners, slots made by several processes at once,
sleepers, versions.
"""
import errno
import os
import platform
import re
import signal
import struct
import tempfile
import threading
import time
from pathlib import Path

import pytest

import walrus
from tests.crash.scenarios import stores_cut_short
from tests.native.reference import crc32c
from walrus import FsyncSchedule

SMALL = {"staging_bytes": 4 << 20, "log_file_bytes": 1 << 20, "journal_file_bytes": 1 << 20}
VERSION_AT, SLEEPERS_AT, CURSORS_AT = 8, 112, 120       # in the head
SLOTS_AT, SLOT_BYTES, PAIR_AT, NAMES_AT = 128 << 20, 128, 64, 256 << 20
VALUE = struct.Struct("<IIQQII")                        # begin, crc, stamp, value, end, reserved
BEGIN, CRC, STAMP, STORED, END = 0, 4, 8, 16, 24        # where they are in a value


class Control:
    """A control file, read and changed by hand."""

    def __init__(self, log):
        self.fd = os.open(log / "control", os.O_RDWR)

    def word(self, at):
        return struct.unpack("<I", os.pread(self.fd, 4, at))[0]

    def slots(self):
        """(id, topic id, name) of each cursor."""
        found = []
        for i in range(self.word(CURSORS_AT)):
            slot = os.pread(self.fd, 24, SLOTS_AT + i * SLOT_BYTES)
            number, topic, at, size, _, state = struct.unpack("<QQIHBB", slot)
            if state:
                found.append((number, topic, os.pread(self.fd, size, NAMES_AT + at).decode()))
        return found

    def place(self, name, which):
        """Where the newest or the older value of that cursor is."""
        slot = SLOTS_AT + [row[2] for row in self.slots()].index(name) * SLOT_BYTES
        places = (slot + PAIR_AT, slot + PAIR_AT + VALUE.size)
        pair = sorted((VALUE.unpack(os.pread(self.fd, VALUE.size, at))[2], at) for at in places)
        return pair[1 if which == "newest" else 0][1]

    def flip(self, at, bit=0):
        byte = os.pread(self.fd, 1, at)[0]
        os.pwrite(self.fd, bytes([byte ^ 1 << bit]), at)

    def store(self, at, begin, end):
        """A store that was cut short, or a value that no store leaves: its checksum is wrong."""
        os.pwrite(self.fd, VALUE.pack(begin, 123, 1 << 60, 3, end, 0), at)

    def numbers(self, at):
        begin, _, _, _, end, _ = VALUE.unpack(os.pread(self.fd, VALUE.size, at))
        return begin, end


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def control(path):
    opened = []

    def open_it():
        opened.append(Control(path))
        return opened[-1]

    yield open_it
    for each in opened:
        os.close(each.fd)


@pytest.fixture
def killed(child):
    """A log whose writer committed cursor "c" of topic "t" (20 entries) at 5, then at 7, and was killed."""
    process = child("""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        log.topic("t").append_batch([b"%d" % i for i in range(20)])
        log.topic("t").cursor("c").commit(5)
        log.topic("t").cursor("c").commit(7)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert process.wait(60) == -signal.SIGKILL


def opened(path, **options):
    return walrus.open(path, fsync_schedule=FsyncSchedule.NoFsync, timeout=20, **SMALL, **options)


class TestDamage:
    @pytest.mark.parametrize("which", ["newest", "older"])
    @pytest.mark.parametrize("field", [BEGIN, END])
    @pytest.mark.parametrize("bit", range(4))
    def test_a_flipped_number_of_a_store_makes_no_older_value_count(self, killed, path, control, which, field, bit):
        control().flip(control().place("c", which) + field, bit)
        with walrus.open(path, read_only=True) as reader:
            assert reader.topic("t").cursor("c").committed == 7
        with opened(path) as log:
            assert log.topic("t").cursor("c").committed == 7

    @pytest.mark.parametrize("which", ["newest", "older"])
    @pytest.mark.parametrize("field", [CRC, STAMP, STORED])
    def test_a_flipped_bit_of_what_was_stored_is_damage_and_neither_counts(self, killed, path, control, which, field):
        control().flip(control().place("c", which) + field, 1)
        with walrus.open(path, read_only=True) as reader, pytest.raises(walrus.CorruptionError, match="damaged"):
            _ = reader.topic("t").cursor("c").committed
        with opened(path) as log:
            for use in (lambda: log.topic("t").cursor("c").committed, log.topic("t").cursor("c").read_next):
                with pytest.raises(walrus.CorruptionError, match="damaged"):
                    use()

    @pytest.mark.parametrize("number", [0, 1, 7, 0xFFFFFFFF])
    def test_a_store_that_was_cut_short_leaves_the_value_before_it(self, killed, path, control, number):
        control().store(control().place("c", "older"), begin=(number + 1) & 0xFFFFFFFF or 1, end=number)
        with opened(path) as log:
            assert log.topic("t").cursor("c").committed == 7

    @pytest.mark.parametrize(("begin", "end"), [(5, 5), (7, 5), (4, 5), (0, 5), (5, 0), (0, 0xFFFFFFFF)])
    def test_what_no_store_leaves_is_damage(self, killed, path, control, begin, end):
        control().store(control().place("c", "older"), begin, end)
        with opened(path) as log, pytest.raises(walrus.CorruptionError, match="damaged"):
            _ = log.topic("t").cursor("c").committed

    def test_an_offset_is_committed_only_when_it_is_known_where_to_read_on(self, killed, path, control):
        control().flip(control().place("c", "newest") + STORED)
        with opened(path) as log:
            cursor = log.topic("t").cursor("c")
            with pytest.raises(walrus.CorruptionError, match="seek"):
                cursor.commit(6)
            with pytest.raises(walrus.CorruptionError, match="seek"):
                cursor.read_next()
            cursor.seek(6)
            cursor.commit(6)
            assert (cursor.read_next().offset, cursor.committed) == (6, 6)

    @pytest.mark.parametrize("damaged", [["newest"], ["older"], ["newest", "older"]], ids=",".join)
    @pytest.mark.parametrize("by", ["writer", "reader"])
    def test_a_commit_heals(self, killed, path, control, child, damaged, by):
        """Of the writer, or of a process that only reads."""
        for which in damaged:
            control().flip(control().place("c", which) + STORED, 3)
        process = child(f"""
            writing = {by!r} == "writer"
            log = open_log(fsync_schedule=FsyncSchedule.NoFsync) if writing else walrus.open(path, read_only=True)
            cursor = log.topic("t").cursor("c")
            try:
                cursor.read_next()
            except walrus.CorruptionError:
                print("damaged", flush=True)
            cursor.seek(11)
            cursor.commit()
            os.kill(os.getpid(), signal.SIGKILL)
        """)
        assert process.communicate(timeout=60)[0] == "damaged\n"
        for _ in range(2):
            with opened(path) as log:
                assert log.topic("t").cursor("c").committed == 11

    @pytest.mark.parametrize("at", [0, 8, 16, 20, 22, 23, 24],
                             ids=["id", "topic", "name", "length", "kind", "state", "crc"])
    def test_a_flipped_bit_in_the_head_of_a_slot_is_never_a_cursor_at_the_beginning(self, path, control, at):
        """Also not to a process that reads, before and after the next open, until it is committed."""
        with opened(path) as log:
            log.topic("t").append_batch([b"x"] * 20)
            log.topic("t").cursor("c").commit(7)
            log.sync()
            control().flip(SLOTS_AT + at)
            with walrus.open(path, read_only=True) as reader, pytest.raises(walrus.CorruptionError):
                _ = reader.topic("t").cursor("c").committed
        for _ in range(2):
            with opened(path) as log, walrus.open(path, read_only=True) as reader:
                for process in (log, reader):
                    with pytest.raises(walrus.CorruptionError):
                        _ = process.topic("t").cursor("c").committed
                assert reader.topic("t").cursor("unknown").committed == 0
        with opened(path) as log, walrus.open(path, read_only=True) as reader:
            log.topic("t").cursor("c").seek(9)
            log.topic("t").cursor("c").commit()
            assert reader.topic("t").cursor("c").committed == 9
        with opened(path) as log:
            assert log.topic("t").cursor("c").committed == 9
            assert len(control().slots()) == 1

    @pytest.mark.parametrize("damaged", ["newest", "older"])
    def test_a_commit_that_is_cut_short_heals_nothing(self, killed, path, control, damaged):
        """It goes into the one that is whole: until the new value is, the damage stays."""
        whole = control().place("c", "older" if damaged == "newest" else "newest")
        control().flip(control().place("c", damaged) + STORED, 3)
        begin, end = control().numbers(whole)
        with walrus.open(path, read_only=True) as reader:
            reader.topic("t").cursor("c").commit(9)
        assert control().numbers(whole) == (begin + 1, end + 1)
        control().store(whole, begin + 1, end)
        assert control().place("c", "newest") == whole


def test_sigkill_at_any_instruction_of_a_commit_leaves_the_value_before_it_or_the_new_one(path):
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(walrus.__file__))}
    assert stores_cut_short(path, env) == ""


def test_a_cursor_that_is_committed_without_pause_is_read_without_an_error(child, path):
    process = child("""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
        log.topic("t").append_batch([b"x"] * 2000)
        cursor = log.topic("t").cursor("c")
        cursor.commit(0)
        print("begun", flush=True)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for i in range(2000):
                cursor.commit(i)
    """)
    assert process.stdout.readline() == "begun\n"
    with walrus.open(path, read_only=True) as reader:
        cursor, looks, seen = reader.topic("t").cursor("c"), 0, set()
        while process.poll() is None:
            seen.add(cursor.committed)
            looks += 1
    assert process.returncode == 0
    assert looks > 1000
    assert len(seen) > 100
    assert max(seen) < 2000


class TestOwners:
    OWNER = """
        log = walrus.open(path, read_only=True) if {reading} else open_log(fsync_schedule=FsyncSchedule.NoFsync)
        log.topic("t").cursor("c").commit(3)
        print("owned", flush=True)
        time.sleep(100)
    """

    def filled(self, log):
        log.topic("t").append_batch([b"%d" % i for i in range(20)])
        return log

    def test_a_writer_must_not_commit_what_a_reader_owns_until_that_one_is_dead(self, child, path):
        with self.filled(opened(path)) as log:
            owner = child(self.OWNER.format(reading=True))
            assert owner.stdout.readline() == "owned\n"
            cursor = log.topic("t").cursor("c")
            with pytest.raises(walrus.CursorInUseError, match=f"another process, {owner.pid}"):
                cursor.commit(4)
            log.topic("t").cursor("another").commit(4)
            log.sync()
            assert cursor.committed == 3
            owner.kill()
            owner.wait()
            cursor.commit(4)
            assert cursor.committed == 4

    def test_a_reader_must_not_commit_what_the_writer_owns_until_that_one_is_dead(self, child, path):
        self.filled(opened(path)).close()
        owner = child(self.OWNER.format(reading=False))
        assert owner.stdout.readline() == "owned\n"
        with walrus.open(path, read_only=True) as reader:
            cursor = reader.topic("t").cursor("c")
            assert cursor.committed == 3
            with pytest.raises(walrus.CursorInUseError, match=f"another process, {owner.pid}"):
                cursor.commit(4)
            reader.topic("t").cursor("another").commit(4)
            owner.kill()
            owner.wait()
            cursor.commit(4)
        with opened(path) as log:
            assert log.topic("t").cursor("c").committed == 4
            log.topic("t").cursor("c").commit(5)

    def test_closing_gives_the_cursor_back(self, path):
        with self.filled(opened(path)) as log:
            with walrus.open(path, read_only=True) as reader:
                reader.topic("t").cursor("c").commit(3)
                with pytest.raises(walrus.CursorInUseError, match="another handle of this process"):
                    log.topic("t").cursor("c").commit(4)
            log.topic("t").cursor("c").commit(4)
            with walrus.open(path, read_only=True) as reader, pytest.raises(walrus.CursorInUseError):
                reader.topic("t").cursor("c").commit(5)
        with walrus.open(path, read_only=True) as reader:
            assert reader.topic("t").cursor("c").committed == 4
            reader.topic("t").cursor("c").commit(5)

    def test_a_new_writer_takes_no_cursor_from_a_reader_that_lives(self, child, path):
        process = child("""
            log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
            log.topic("t").append_batch([b"%d" % i for i in range(20)])
            print("filled", flush=True)
            time.sleep(100)
        """)
        assert process.stdout.readline() == "filled\n"
        with walrus.open(path, read_only=True) as reader:
            cursor = reader.topic("t").cursor("c")
            cursor.commit(3)
            process.kill()
            process.wait()
            with opened(path) as log:
                for touched in (False, True):
                    if touched:
                        assert reader.topic("t").end_offset == 20       # the new writer's files are mapped
                    with pytest.raises(walrus.CursorInUseError):
                        log.topic("t").cursor("c").commit(4)
                cursor.commit(5)
                log.sync()
                assert log.topic("t").cursor("c").committed == 5

    @pytest.mark.parametrize("reading", [True, False], ids=["reader", "writer"])
    def test_a_forked_child_keeps_no_cursor_of_its_dead_parent(self, child, path, reading):
        self.filled(opened(path)).close()
        owner = child(f"""
            log = walrus.open(path, read_only=True) if {reading} else open_log(fsync_schedule=FsyncSchedule.NoFsync)
            log.topic("t").cursor("c").commit(3)
            if os.fork() == 0:
                print(os.getpid(), flush=True)
                time.sleep(20)
                os._exit(0)
            time.sleep(100)
        """)
        orphan = int(owner.stdout.readline())
        try:
            owner.kill()
            owner.wait()
            with walrus.open(path, read_only=True) as reader:
                reader.topic("t").cursor("c").commit(4)
                assert reader.topic("t").cursor("c").committed == 4
        finally:
            os.kill(orphan, signal.SIGKILL)

    def test_a_reader_goes_on_in_a_forked_child_under_its_own_name(self, child, path):
        with self.filled(opened(path)):
            out = child.run("""
                reader = walrus.open(path, read_only=True)
                reader.topic("t").cursor("c").commit(3)
                pid = os.fork()
                if pid == 0:
                    print(reader.topic("t").end_offset)
                    try:
                        reader.topic("t").cursor("c").commit(4)
                    except walrus.CursorInUseError:
                        print("in use")
                    sys.stdout.flush()
                    os._exit(0)
                os.waitpid(pid, 0)
                reader.topic("t").cursor("c").commit(5)
                print(reader.topic("t").cursor("c").committed)
            """)
        assert out.split("\n")[:3] == ["20", "in use", "5"]

    def test_a_truncation_sets_back_a_cursor_whoever_owns_it(self, child, path):
        process = child("""
            log = open_log(fsync_schedule=FsyncSchedule.NoFsync)
            topic = log.topic("t")
            for i in range(20):
                topic.append(b"%d" % i)
            print("filled", flush=True)
            sys.stdout.flush()
            while not os.path.exists(path + "-go"):
                time.sleep(0.01)
            topic._truncate(10)
            topic.append_batch([b"new"] * 20)
            print("cut", flush=True)
            time.sleep(100)
        """)
        assert process.stdout.readline() == "filled\n"
        with walrus.open(path, read_only=True) as reader:
            reader.topic("t").cursor("c").commit(20)
            (path.parent / "log-go").touch()
            assert process.stdout.readline() == "cut\n"
            assert reader.topic("t").cursor("c").committed == 10
            process.kill()
            process.wait()
        with opened(path) as log:
            assert log.topic("t").cursor("c").committed == 10


def test_cursors_made_by_many_processes_at_once_have_one_slot_and_one_id_each(child, path, control):
    with opened(path) as log:
        log.topic("t").append_batch([b"x"] * 200)
        go = path.parent / "go"
        processes = [child(f"""
            reader = walrus.open(path, read_only=True)
            print("ready", flush=True)
            while not os.path.exists({str(go)!r}):
                pass
            mine = 0
            for i in range(150):
                try:
                    reader.topic("t").cursor("c%d" % i).commit(i)
                    mine += 1
                except walrus.CursorInUseError:
                    pass
                reader.topic("t").cursor("own%d-%d" % ({k}, i)).commit(i)
            print(mine, flush=True)
            sys.stdout.close()
            time.sleep(100)
        """) for k in range(3)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        go.touch()
        mine = 0
        for i in range(150):
            try:
                log.topic("t").cursor(f"c{i}").commit(i)
                mine += 1
            except walrus.CursorInUseError:
                pass
            log.topic("t").cursor(f"writer{i}").commit(i)
        mine += sum(int(process.stdout.readline()) for process in processes)
        slots = control().slots()
        names = [name for _, _, name in slots]
        assert len(names) == len(set(names)) == 150 * 5
        assert len({number for number, _, _ in slots}) == len(slots)
        assert mine == 150                              # each has one owner
        for process in processes:
            process.kill()
            process.wait()
    with opened(path) as log:
        for name in names:
            assert log.topic("t").cursor(name).committed == int(re.search(r"\d+$", name)[0])


def test_ids_of_cursors_are_not_given_twice_after_other_processes_made_some(path, control):
    for round_ in range(3):
        with opened(path) as log:
            log.topic("t").append(b"x")
            with walrus.open(path, read_only=True) as reader:
                for i in range(3):
                    reader.topic("t").cursor(f"reader{round_}-{i}").commit(1)
            for i in range(8 if round_ else 0):
                log.topic("t").cursor(f"writer{round_}-{i}").commit(1)
            log.sync()
    ids = [number for number, _, _ in control().slots()]
    assert len(ids) == len(set(ids)) == 25


class TestSleepers:
    def test_one_that_was_killed_costs_one_call_and_no_more(self, path, child, control):
        with opened(path) as log:
            log.topic("t").append(b"x")
            process = child("""
                for _ in walrus.open(path, read_only=True).topic("t").cursor("c").follow():
                    print("read", flush=True)
            """)
            assert process.stdout.readline() == "read\n"
            deadline = time.monotonic() + 20
            while not control().word(SLEEPERS_AT) and time.monotonic() < deadline:
                time.sleep(0.005)
            process.kill()
            process.wait()
            assert control().word(SLEEPERS_AT) == 1
            log.topic("t").append(b"x")
            assert control().word(SLEEPERS_AT) == 0

    def test_who_has_something_to_read_does_not_sleep_and_who_sleeps_is_woken_and_keeps_no_other_thread_out(self, path):
        with opened(path) as log:
            log.topic("t").append(b"x")
            with walrus.open(path, read_only=True) as reader:
                begun = time.monotonic()
                reader._view.sleep(b"t", 0, 20.0)
                sleeper = threading.Thread(target=reader._view.sleep, args=(b"t", 1, 20.0))
                sleeper.start()
                time.sleep(0.1)
                assert reader.topic("t").end_offset == 1
                assert sleeper.is_alive()
                log.topic("t").append(b"x")
                sleeper.join(20)
                assert time.monotonic() - begun < 15


def test_who_may_not_write_the_control_file_reads_and_follows_without_spinning_and_cannot_commit(child):
    """Nobody's user: the file is only readable to it."""
    with tempfile.TemporaryDirectory(prefix="walrus-nobody-") as directory:
        path = Path(directory, "log")
        Path(directory).chmod(0o755)
        with opened(path) as log:
            log.topic("t").append(b"x")
            (path / "control").chmod(0o444)
            out = child.run("""
                walrus.open(path, read_only=True).topic("t").cursor("c").read_next()   # what is imported late
                if os.geteuid() == 0:
                    os.setuid(65534)
                cursor = walrus.open(path, read_only=True).topic("t").cursor("c")
                print([entry.data for entry in cursor.follow(timeout=1)], time.process_time() < 0.9)
                try:
                    cursor.commit()
                except walrus.WalrusError as error:
                    print("cannot be written" in str(error))
            """, path=path)
    assert out == "[b'x'] True\nTrue\n"


class TestVersions:
    def newer(self, control, right):
        """Of version 2, with a checksum that is right, or not."""
        fd = control().fd
        head = bytearray(os.pread(fd, 96, 0))
        struct.pack_into("<I", head, VERSION_AT, 2)
        struct.pack_into("<I", head, 0, crc32c(bytes(head[4:])) ^ (not right))
        os.pwrite(fd, head, 0)

    def test_a_newer_control_file_is_refused_by_its_number(self, killed, path, control):
        self.newer(control, True)
        for read_only in (False, True):
            with pytest.raises(walrus.VersionError, match=r"control was written by .* control file of version 2"):
                walrus.open(path, read_only=read_only)

    def test_a_damaged_head_is_not_of_a_newer_version(self, killed, path, control):
        self.newer(control, False)
        with pytest.raises(walrus.CorruptionError, match="control is damaged"):
            walrus.open(path, read_only=True)
        with opened(path) as log:
            assert log.topic("t").end_offset == 20


@pytest.mark.storage
def test_flipped_bits_of_what_has_no_checksum_lead_no_reader_out_of_the_file(child):
    """Numbers of topics and cursors, and where a topic's name lies: a typed error at most, also from what is mapped."""
    child.run("""
        import faulthandler
        faulthandler.enable()
        with open_log() as log:
            for name in ("t", "u"):
                log.topic(name).append(b"x")
            log.topic("t").cursor("c").commit(1)
        control = open(os.path.join(path, "control"), "r+b", buffering=0)
        places = [*range(116, 132), *range((1 << 20) + 40, (1 << 20) + 48)]

        def flip(at, bit):
            control.seek(at)
            byte = control.read(1)[0]
            control.seek(at)
            control.write(bytes([byte ^ 1 << bit]))

        def look(reader):
            try:
                reader.topics()
                assert list(reader.topic("u").read())[0].data == b"x"
                reader.topic("t").read_batch(0)
                reader.topic("t").cursor("c").committed
            except walrus.CorruptionError as error:
                assert path in str(error)
                return 1
            except (walrus.OffsetOutOfRange, IndexError):
                pass
            return 0

        refused = mapped = 0
        for at in places:
            for bit in range(8):
                with walrus.open(path, read_only=True) as reader:
                    look(reader)
                    flip(at, bit)
                    mapped += look(reader)
                try:
                    with walrus.open(path, read_only=True) as reader:
                        refused += look(reader)
                except walrus.CorruptionError as error:
                    assert "control is damaged" in str(error)
                    refused += 1
                flip(at, bit)
        with walrus.open(path, read_only=True) as reader:
            assert look(reader) == 0 and reader.topic("t").cursor("c").committed == 1
        assert refused >= 40 and mapped >= 20, (refused, mapped)
    """)


def test_a_full_disk_does_not_refuse_the_open_for_want_of_a_pid(child):
    number = {"x86_64": 18, "aarch64": 68}[platform.machine()]     # pwrite64
    out = child.run(f"""
        from tests.seccomp import install
        install({errno.ENOSPC}, {number}, bytes_below=16)
        try:
            os.pwrite(os.open(path + "-probe", os.O_CREAT | os.O_RDWR), b"1", 0)
        except OSError:
            print("refused")
        with open_log() as log:
            print(log.topic("t").append(b"x"))
        print(os.path.getsize(path + "/lock"))
    """, env={"PYTHONPATH": os.pathsep.join([os.path.dirname(os.path.dirname(walrus.__file__)), os.getcwd()])})
    assert out.split() == ["refused", "0", "0"]


def test_a_reader_that_was_overtaken_by_reclamation_is_told_the_oldest_offset_and_goes_on_there(path, child):
    process = child("""
        log = open_log(fsync_schedule=FsyncSchedule.NoFsync, retention=2 << 20)
        topic = log.topic("t")
        print("open", flush=True)
        for i in range(12_000):
            topic.append(b"%d " % i + b"x" * 1500)
        log.sync()
        while topic.oldest_offset == 0:
            log.reclaim()
        print("done", flush=True)
        time.sleep(100)
    """)
    assert process.stdout.readline() == "open\n"
    with walrus.open(path, read_only=True) as reader:
        topic = reader.topic("t")
        assert process.stdout.readline() == "done\n"
        with pytest.raises(walrus.OffsetOutOfRange, match="reclaimed") as refused:
            topic.read_batch(0)
        assert refused.value.oldest == topic.oldest_offset > 0
        position = refused.value.oldest
        for entry in topic.read(position):
            assert (entry.offset, entry.data) == (position, b"%d " % position + b"x" * 1500)
            position += 1
        assert position == 12_000
