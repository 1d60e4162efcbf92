"""Real file systems in loop-mounted images: ext4, XFS, btrfs, and tmpfs; root and their tools are needed, else skipped."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import walrus
from tests.conftest import SMALL

MIB = 1 << 20
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}


def payload(i):
    return b"%d " % i + bytes(i % 997)


@pytest.fixture
def mounted(tmp_path):
    """Mounts a fresh file system of 400 MiB; gives its directory, which no other test run clears away."""
    where = Path(tempfile.mkdtemp(prefix="walrus-mounted-"))

    def mount(kind):
        if os.geteuid() or (kind in MAKE and shutil.which(MAKE[kind][0]) is None):
            pytest.skip(f"{kind} needs root and its tools")
        command = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", where]
        if kind in MAKE:
            with open(tmp_path / "image", "wb") as image:
                image.truncate(400 * MIB)
            subprocess.run([*MAKE[kind], tmp_path / "image"], check=True, capture_output=True)
            command = ["mount", "-o", "loop", tmp_path / "image", where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{kind} cannot be mounted here: {done.stderr.strip()}")
        return where

    yield mount
    subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)
    where.rmdir()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
@pytest.mark.parametrize("backend", ["auto", "mmap"])
def test_a_log_is_written_reclaimed_and_found_again(mounted, kind, backend):
    path = mounted(kind) / "log"
    with walrus.open(path, backend=backend, retention=4 * MIB, **SMALL) as log:
        topic = log.topic("t")
        for i in range(60_000):
            topic.append(payload(i))
        log.sync()
        log.reclaim()
        assert log.stats().log_file_bytes < 20 * MIB < sum(len(payload(i)) for i in range(60_000))
    with walrus.open(path, backend=backend, **SMALL) as log:
        topic = log.topic("t")
        assert topic.end_offset == 60_000
        kept = [entry.data for entry in topic.read()]
        assert kept == [payload(i) for i in range(60_000 - len(kept), 60_000)]
        assert sum(map(len, kept)) >= 4 * MIB


def test_on_btrfs_files_are_written_over_in_place(mounted):
    path = mounted("btrfs") / "log"
    if shutil.which("lsattr") is None:
        pytest.skip("lsattr is not installed")
    with walrus.open(path) as log:
        log.topic("t").append(b"x")
        log.sync()
        listed = subprocess.run(["lsattr", path], check=True, capture_output=True, text=True).stdout.splitlines()
    without = [line for line in listed if "C" not in line.split()[0]]
    assert listed and not without


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_a_full_file_system_can_be_emptied_and_used_again(mounted, kind):
    directory = mounted(kind)
    with walrus.open(directory / "log", retention="consumed", **SMALL) as log:
        topic = log.topic("t")
        cursor = topic.cursor("c")
        cursor.commit()
        count = 0
        with open(directory / "ballast", "wb") as ballast, pytest.raises(OSError, match="No space left"):
            while True:
                ballast.write(bytes(MIB))
                ballast.flush()
        with pytest.raises(walrus.StorageFullError):
            while True:
                topic.append(bytes(10_000), timeout=5)
                count += 1
        assert topic.end_offset == count
        os.unlink(directory / "ballast")
        assert topic.append(b"again") == count
        assert len(list(topic.read())) == count + 1
    with walrus.open(directory / "log", **SMALL) as log:
        assert log.topic("t").end_offset == count + 1
