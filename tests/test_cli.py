"""The command line: pipes, JSON, exit codes, errors without a traceback, verify, doctor, the bench's own comparison."""
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import walrus
from walrus import bench, cli, doctor, limits

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(walrus.__file__).parent.parent)}
COMMAND = [sys.executable, "-P", "-m", "walrus"]


def run(*arguments, stdin=b"", code=0):
    """Runs a command in a process of its own; gives stdout and stderr."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout, done.stderr.decode()


def start(*arguments):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=ENVIRONMENT, **pipes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def filled(path):
    """Topic "lines" with the entries 0 to 4999, topic "bytes" with two that are no text."""
    with walrus.open(path, staging_bytes=4 << 20, log_file_bytes=1 << 20, journal_file_bytes=1 << 20) as log:
        log.topic("lines").append_batch([b"%d" % i for i in range(2000)])
        log.topic("lines").append_batch([b"%d" % i for i in range(2000, 4000)])
        log.topic("lines").append_batch([b"%d" % i for i in range(4000, 5000)])
        log.topic("bytes").append(b"\xff\x00\n")
        log.topic("bytes").append(b"")
    return path


def lines(first, end):
    return b"".join(b"%d\n" % i for i in range(first, end))


class TestPutAndGet:
    @pytest.mark.parametrize("batch", [[], ["--batch", 7], ["--batch", 2000]], ids=str)
    def test_lines_in_are_lines_out(self, path, batch):
        _, said = run("put", path, "t", *batch, stdin=lines(0, 5000))
        assert "5000 entries" in said
        assert run("get", path, "t")[0] == lines(0, 5000)

    def test_the_last_line_needs_no_end_and_empty_lines_are_entries(self, path):
        run("put", path, "t", stdin=b"a\n\n\nb")
        assert run("get", path, "t")[0] == b"a\n\n\nb\n"

    def test_a_second_put_goes_on_behind_the_first(self, path):
        run("put", path, "t", stdin=b"a\n")
        report = json.loads(run("put", path, "t", "--json", stdin=b"b\nc\n")[0])
        assert report == {"topic": "t", "first_offset": 1, "entries": 2, "end_offset": 3}

    def test_length_prefixed_entries_keep_any_bytes(self, path):
        data = b"".join(struct.pack(">I", len(entry)) + entry for entry in (b"\n\n", b"", bytes(range(256))))
        run("put", path, "t", "--length-prefixed", stdin=data)
        assert run("get", path, "t", "--length-prefixed")[0] == data

    @pytest.mark.parametrize("torn", [b"\0\0", b"\0\0\0\5abc"], ids=["length", "entry"])
    def test_input_that_ends_within_an_entry_is_an_error_and_keeps_what_was_before(self, path, torn):
        _, said = run("put", path, "t", "--length-prefixed", stdin=b"\0\0\0\1x" + torn, code=1)
        assert "input ends within" in said
        assert run("get", path, "t")[0] == b"x\n"

    def test_a_part_is_chosen_by_from_and_max(self, filled):
        assert run("get", filled, "lines", "--from", 1998, "--max", 4)[0] == lines(1998, 2002)
        assert run("get", filled, "lines", "--from", 5000)[0] == b""

    def test_json_has_text_as_text_and_bytes_in_base64(self, filled):
        first, second = map(json.loads, run("get", filled, "bytes", "--json")[0].splitlines())
        assert (first["offset"], first["data_base64"]) == (0, "/wAK")
        assert (second["offset"], second["data"]) == (1, "")

    def test_put_says_what_it_had_appended_when_interrupted(self, path):
        with start("put", path, "t") as process:
            process.stdin.write(b"a\nb\n")
            process.stdin.flush()
            deadline = time.monotonic() + 30
            while not (path / "catalog.0").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
            assert process.wait(30) == 130
        assert "2 entries" in said
        assert "Traceback" not in said
        assert run("get", path, "t")[0] == b"a\nb\n"


class TestTail:
    def test_the_last_entries(self, filled):
        assert run("tail", filled, "lines")[0] == lines(4990, 5000)
        assert run("tail", filled, "lines", "-n", 3)[0] == lines(4997, 5000)
        assert run("tail", filled, "lines", "-n", 0)[0] == b""
        assert run("tail", filled, "lines", "-n", 9999)[0] == lines(0, 5000)

    def test_following_writes_what_another_process_appends(self, path):
        with walrus.open(path) as log:
            log.topic("t").append_batch([b"a", b"b", b"c"])
            with start("tail", path, "t", "-f", "-n", 2) as process:
                assert [process.stdout.readline() for _ in range(2)] == [b"b\n", b"c\n"]
                log.topic("t").append(b"d")
                assert process.stdout.readline() == b"d\n"
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
                assert process.stderr.read() == b""

    def test_following_sleeps_until_it_is_woken(self, path):
        """Far sooner than the slice of 50 ms in which it looks up."""
        with walrus.open(path) as log:
            log.topic("t").append(b"0")
            with start("tail", path, "t", "-f") as process:
                assert process.stdout.readline() == b"0\n"
                took = []
                for i in range(1, 22):
                    time.sleep(0.005)
                    began = time.monotonic()
                    log.topic("t").append(b"%d" % i)
                    assert process.stdout.readline() == b"%d\n" % i
                    took.append(time.monotonic() - began)
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
            assert sorted(took)[10] < 0.02, took

    def test_following_outlives_the_writer(self, path):
        with walrus.open(path) as log:
            log.topic("t").append(b"a")
            process = start("tail", path, "t", "-f")
            assert process.stdout.readline() == b"a\n"
        with process, walrus.open(path) as log:
            log.topic("t").append(b"b")
            assert process.stdout.readline() == b"b\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


class TestBesideAWriter:
    def test_what_was_appended_is_seen_and_the_writer_goes_on(self, path):
        with walrus.open(path) as log:
            log.topic("t").append(b"a")
            assert run("get", path, "t")[0] == b"a\n"
            assert json.loads(run("topics", path, "--json")[0])[0]["end_offset"] == 1
            assert json.loads(run("verify", path, "--json")[0])["ok"] is True
            assert log.topic("t").append(b"b") == 1


class TestPipes:
    def test_a_reader_that_had_enough_ends_get_quietly(self, path):
        run("put", path, "t", "--batch", 2000, stdin=lines(0, 200_000))
        with start("get", path, "t") as process:
            assert process.stdout.readline() == b"0\n"
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(30) == 0

    def test_what_get_writes_put_reads(self, filled, tmp_path):
        data, _ = run("get", filled, "bytes", "--length-prefixed")
        run("put", tmp_path / "other", "bytes", "--length-prefixed", stdin=data)
        assert run("get", tmp_path / "other", "bytes", "--length-prefixed")[0] == data


    @pytest.mark.parametrize("closed, command", [
        (">&-", ["get", "lines"]), (">&-", ["tail", "lines"]), (">&-", ["topics"]), (">&-", ["verify"]), ("<&-", ["put", "lines"]),
    ], ids=str)
    def test_a_stream_that_is_closed_is_1_and_said(self, filled, closed, command):
        name, *more = command
        done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, name, filled, *more], env=ENVIRONMENT,
                              stderr=subprocess.PIPE, timeout=60, check=False)
        assert (done.returncode, b"is closed" in done.stderr, done.stderr.count(b"\n")) == (1, True, 1), done.stderr

    def test_a_full_disk_behind_stdout_is_1_and_said(self, filled):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, "get", filled, "lines"], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE,
                                  timeout=60, check=False)
        assert done.returncode == 1
        assert b"No space left" in done.stderr and b"Traceback" not in done.stderr


class TestTopicsAndStat:
    def test_topics_with_their_offsets(self, filled):
        rows = [line.split() for line in run("topics", filled)[0].decode().splitlines()]
        assert rows[1:] == [["lines", "5,000", "18,890", "0", "5,000", "5,000"], ["bytes", "2", "3", "0", "2", "2"]]
        facts = {fact["topic"]: fact for fact in json.loads(run("topics", filled, "--json")[0])}
        assert facts["lines"]["end_offset"] == facts["lines"]["entries"] == 5000
        assert facts["bytes"]["payload_bytes"] == 3

    def test_stat_of_a_log_and_of_a_topic(self, filled):
        facts = json.loads(run("stat", filled, "--json")[0])
        assert facts["topics"] == 2
        assert facts["disk_bytes"] > 0
        assert json.loads(run("stat", filled, "lines", "--json")[0])["durable_offset"] == 5000
        assert "topics: 2\n" in run("stat", filled)[0].decode()

    def test_names_that_no_terminal_shows_are_escaped(self, path):
        with walrus.open(path) as log:
            log.topic("two\nlines").append(b"x")
        out, _ = run("topics", path)
        assert b"'two\\nlines'" in out


class TestErrors:
    @pytest.mark.parametrize("command", ["get", "nonsense", "get x t --from -1", "put x t --batch 2001", "put x t --batch 0",
                                         "bench --only nonsense"])
    def test_a_wrong_command_is_2(self, command):
        _, said = run(*command.split(), code=2)
        assert "usage:" in said

    def test_what_is_no_number_is_said_to_be_none(self):
        for command in ("get x t --from y", "put x t --batch y"):
            assert "'y' is no whole number" in run(*command.split(), code=2)[1]

    def test_a_topic_name_that_is_too_long_is_2_and_names_the_limit(self, path):
        assert "1024" in run("put", path, "x" * 1025, stdin=b"a\n", code=2)[1].replace(",", "")

    @pytest.mark.parametrize("command", ["get", "tail"])
    def test_an_unknown_topic_is_1_and_says_which_there_are(self, filled, command):
        _, said = run(command, filled, "other", code=1)
        assert "no topic 'other'" in said
        assert "lines, bytes" in said

    @pytest.mark.parametrize("command", [["get", "t"], ["topics"], ["stat"], ["verify"]], ids=lambda command: command[0])
    def test_where_there_is_no_log_none_is_made(self, tmp_path, command):
        name, *more = command
        assert "no log" in run(name, tmp_path, *more, code=1)[1]
        assert "no directory" in run(name, tmp_path / "nowhere", *more, code=1)[1]
        assert list(tmp_path.iterdir()) == []

    def test_an_offset_beyond_the_end_is_1(self, filled):
        for offset in (5001, 1 << 70):
            assert "out of range" in run("get", filled, "lines", "--from", offset, code=1)[1]
        assert run("get", filled, "lines", "--from", 4999, "--max", 1 << 70)[0] == b"4999\n"

    def test_a_second_writer_is_told_who_the_first_is(self, path):
        with walrus.open(path):
            assert str(os.getpid()) in run("put", path, "t", stdin=b"a\n", code=1)[1]


def damage(path, needle):
    """Flips a bit of the first place where the log's files hold `needle`."""
    for file in sorted(path.glob("log-*")):
        at = file.read_bytes().find(needle)
        if at >= 0:
            with file.open("r+b") as opened:
                opened.seek(at)
                byte = opened.read(1)[0]
                opened.seek(at)
                opened.write(bytes([byte ^ 1]))
            return
    raise AssertionError(f"{needle!r} is in no log file")


class TestVerify:
    def test_a_sound_log(self, filled):
        report = json.loads(run("verify", filled, "--json")[0])
        assert report["ok"] is True
        assert [(topic["topic"], topic["entries"], topic["payload_bytes"]) for topic in report["topics"]] == [
            ("lines", 5000, 18890), ("bytes", 2, 3)]
        assert "all is well" in run("verify", filled)[0].decode()

    def test_a_flipped_bit_is_found_and_all_else_is_read(self, path):
        with walrus.open(path, staging_bytes=4 << 20) as log:
            for i in range(3):
                log.topic("t").append(b"marker %d " % i * 1000)
            log.topic("other").append(b"fine")
            big = log.topic("filler")
            for _ in range(64):
                big.append(os.urandom(1 << 16))
        damage(path, b"marker 1 marker 1 ")
        report = json.loads(run("verify", path, "--json", code=1)[0])
        assert report["ok"] is False
        found = {topic["topic"]: topic for topic in report["topics"]}
        assert found["t"]["entries"] == 2
        [place] = found["t"]["damage"]
        assert (place["offset"], place["next_offset"]) == (1, 2)
        assert "damaged" in place["what"]
        assert found["other"]["damage"] == found["filler"]["damage"] == []
        assert "DAMAGED" in run("verify", path, code=1)[0].decode()

    def test_get_stops_at_damage_and_says_where_to_go_on(self, path):
        with walrus.open(path, staging_bytes=4 << 20) as log:
            for i in range(3):
                log.topic("t").append(b"marker %d " % i * 10_000)
        damage(path, b"marker 1 marker 1 ")
        out, said = run("get", path, "t", code=1)
        assert out == b"marker 0 " * 10_000 + b"\n"
        assert "--from 2" in said
        assert run("get", path, "t", "--from", 2)[0] == b"marker 2 " * 10_000 + b"\n"


class TestDoctor:
    def test_every_finding_has_a_state_and_trouble_an_advice(self, tmp_path):
        findings = json.loads(run("doctor", tmp_path, "--json")[0])
        names = {finding["name"] for finding in findings}
        assert names >= {"kernel", "kernel.io_uring_disabled", "liburing", "file system", "space", "io_uring", "O_DIRECT",
                         "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "CRC32C"}
        for finding in findings:
            assert finding["state"] == "ok" or finding["advice"]
        assert list(tmp_path.iterdir()) == []

    def test_a_directory_to_come_is_judged_by_the_one_above_it(self, tmp_path):
        assert f"{tmp_path / 'a' / 'b'} is not there: what follows is of {tmp_path}" in run("doctor", tmp_path / "a" / "b")[0].decode()
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_no_place_for_a_log(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        for path in (tmp_path / "file", tmp_path / "file" / "a"):
            assert b"fail  directory" in run("doctor", path, code=1)[0]

    @pytest.mark.parametrize(("release", "state"), [("5.4.0", "warn"), ("5.15.0-91", "warn"), ("6.0.1", "warn"), ("6.1.0", "ok"),
                                                    ("7.0", "ok")])
    def test_old_kernels_are_told(self, monkeypatch, release, state):
        monkeypatch.setattr(doctor.platform, "release", lambda: release)
        assert doctor._kernel().state == state

    @pytest.mark.parametrize(("mount", "state"), [("ext4 rw", "ok"), ("btrfs rw", "warn"), ("tmpfs rw", "warn"),
                                                  ("nfs4 rw", "warn"), ("xfs ro,noatime", "fail"), ("fuse.sshfs rw", "warn")])
    def test_file_systems_are_judged_by_what_they_promise(self, monkeypatch, mount, state):
        kind, flags = mount.split()
        monkeypatch.setattr(doctor, "_mount_of", lambda directory: ("/", kind, flags))
        assert doctor._file_system(Path("/")).state == state

    def test_a_log_that_cannot_be_made_is_a_failure(self, monkeypatch, tmp_path, capsys):
        def refuse(*arguments, **options):
            raise OSError(5, "Input/output error")
        monkeypatch.setattr(doctor.walrus, "open", refuse)
        assert cli.main(["doctor", str(tmp_path)]) == 1
        assert "fail  a log" in capsys.readouterr().out


class TestBench:
    def test_every_figure_stands_beside_its_limit_and_every_entry_is_compared(self, tmp_path):
        run("bench", "--quick", "--gib", 0.02, "--directory", tmp_path, "--json", tmp_path / "report", "--only", "append",
            "--only", "append_batch")
        report = json.loads((tmp_path / "report").read_text())
        assert [figure["name"] for figure in report["figures"]] == ["append", "append_batch"]
        for figure in report["figures"]:
            assert figure["limit"]["per_second"] == max(figure["limits"]) > 0
            assert figure["stats"]["written_bytes"] >= int(0.02 * (1 << 30))
            assert figure["compared"]["entries"] > 0
        assert [file.name for file in tmp_path.iterdir()] == ["report"]

    def test_a_log_that_holds_something_else_does_not_pass(self, tmp_path):
        figure = bench.FIGURES["append"]
        with walrus.open(tmp_path / "log") as log:
            topic = log.topic("0")
            for data in figure.payloads()[:999]:
                topic.append(data)
            topic.append(b"something else")
        with pytest.raises(walrus.WalrusError, match="not what was appended"):
            bench.compare(figure, str(tmp_path / "log"), [1000])
        with pytest.raises(walrus.WalrusError, match="1001 entries were appended"):
            bench.compare(figure, str(tmp_path / "log"), [1001])

    def test_limits_are_measured_without_fio_too(self, tmp_path, monkeypatch):
        monkeypatch.setattr(limits.shutil, "which", lambda name: None)
        assert "8 threads" in limits.sequential_writes(str(tmp_path), 64 << 20).what
        assert limits.flushed_writes(str(tmp_path), 0.05).per_second > 0
        assert list(tmp_path.iterdir()) == []
