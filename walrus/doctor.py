"""Looks at what the machine offers a log in a directory: kernel, io_uring, O_DIRECT, file system, space, limits, processor.

Each finding says what was seen and, unless all is well, what to do. What can be tried is tried (a small log in a temporary
directory, removed again) rather than guessed from versions. "warn" costs speed or a guarantee; "fail" means that a log cannot
work there.
"""

from __future__ import annotations

import ctypes.util
import mmap
import os
import platform
import re
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import walrus

__all__ = ["Finding", "examine"]

MIB: Final = 1 << 20
SPACE_BYTES_LEAST: Final = 200 * MIB
SPACE_BYTES_COMFORTABLE: Final = 1 << 30
DESCRIPTORS_COMFORTABLE: Final = 256
MEMLOCK_BYTES_COMFORTABLE: Final = 8 * MIB
SINGLE_ISSUER_KERNEL: Final = (6, 0)
DIOALIGN_KERNEL: Final = (6, 1)
RING_KERNEL: Final = (5, 6)
UNACCOUNTED_RING_KERNEL: Final = (5, 12)  # before, a ring's memory counted against RLIMIT_MEMLOCK

REMOTE: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "fuse")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    seen: str
    advice: str = ""


def examine(directory: str) -> list[Finding]:
    """All findings for a log in `directory`; where it does not exist yet, for the nearest directory above it that does."""
    base = Path(directory)
    while not base.exists() and base != base.parent:
        base = base.parent
    if not base.is_dir():
        return [Finding("directory", "fail", f"{base} is a file", "give a directory, or a path where one can be made")]
    seen = str(base) if base == Path(directory) else f"{directory} is not there: what follows is of {base}"
    findings = [Finding("directory", "ok", seen), _kernel(), _io_uring_switch(), _liburing(), _file_system(base), _free_space(base)]
    if os.access(base, os.W_OK | os.X_OK):
        findings += [*_trial(base), _direct_io(base)]
    else:
        findings[0] = Finding("directory", "fail", f"{base} is not writable", "give a directory that this user may write")
    return [*findings, _descriptors(), _locked_memory(), _processor()]


def kernel_version() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _kernel() -> Finding:
    version = kernel_version()
    seen = f"{platform.system()} {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
    if version >= DIOALIGN_KERNEL:
        return Finding("kernel", "ok", seen)
    if version < RING_KERNEL:
        return Finding("kernel", "warn", seen, "too old for io_uring (5.6): pwrite is used, slower, as safe")
    missing = "STATX_DIOALIGN (6.1)" if version >= SINGLE_ISSUER_KERNEL else "STATX_DIOALIGN (6.1) and SINGLE_ISSUER (6.0)"
    return Finding("kernel", "warn", seen, f"lacks {missing}: it works without, a little slower; 6.1 or newer has both")


def _io_uring_switch() -> Finding:
    name = "kernel.io_uring_disabled"
    try:
        value = Path("/proc/sys/kernel/io_uring_disabled").read_text().strip()
    except OSError:
        return Finding(name, "ok", "no such switch in this kernel")
    if value == "0":
        return Finding(name, "ok", "0")
    who = "for all but members of kernel.io_uring_group" if value == "1" else "for everybody"
    return Finding(name, "warn", f"{value}: switched off {who}", f"as root: sysctl {name}=0 (without it pwrite is used)")


def _liburing() -> Finding:
    try:
        mapped = re.findall(r"\S*/liburing[^/\s]*", Path("/proc/self/maps").read_text())
    except OSError:
        mapped = []
    found = os.path.realpath(mapped[0]) if mapped else ctypes.util.find_library("uring")
    return Finding("liburing", "ok", found or "linked into walrus")


def _mount_of(directory: Path) -> tuple[str, str, str]:
    """Where `directory` is mounted, with what type and options: the longest mount point above it, the last mounted there."""
    best = ("/", "unknown", "")
    real = os.path.realpath(directory)
    for line in Path("/proc/mounts").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, fields[2], fields[3])
    return best


def _file_system(directory: Path) -> Finding:
    point, kind, flags = _mount_of(directory)
    seen = f"{kind} on {point}"
    name = "file system"
    if "ro" in flags.split(","):
        return Finding(name, "fail", f"{seen}, read-only", "mount it for writing, or open the log with read_only=True")
    if kind in ("tmpfs", "ramfs"):
        return Finding(name, "warn", seen, "it survives the process, not the system: nothing is durable there")
    if kind.split(".")[0] in REMOTE:
        return Finding(name, "warn", seen, "locks and flushes are only as good as the server's; a local disk is what is tested")
    if kind == "btrfs":
        return Finding(name, "warn", seen, "make the log's directory NOCOW before its first open: chattr +C (docs/operating.md)")
    if kind == "overlay":
        return Finding(name, "warn", seen, "a container's own layer goes with the container: put the log on a volume")
    return Finding(name, "ok", seen)


def _free_space(directory: Path) -> Finding:
    room = os.statvfs(directory)
    free = room.f_bavail * room.f_frsize
    seen = f"{free / 1e9:,.1f} GB free"
    if free < SPACE_BYTES_LEAST:
        return Finding("space", "fail", seen, f"a log with default sizes begins at {SPACE_BYTES_LEAST // MIB} MiB; give smaller "
                       "staging_bytes, log_file_bytes and journal_file_bytes, or make room")
    if free < SPACE_BYTES_COMFORTABLE:
        return Finding("space", "warn", seen, "set retention, or make room: a full disk refuses appends with StorageFullError")
    return Finding("space", "ok", seen)


def _trial(base: Path) -> Iterator[Finding]:
    """A log is opened, written, synced and read back."""
    with tempfile.TemporaryDirectory(prefix=".walrus-doctor-", dir=base) as directory:
        try:
            path = os.path.join(directory, "log")
            with walrus.open(path, backend="io_uring", staging_bytes=MIB, log_file_bytes=MIB, journal_file_bytes=MIB // 4) as log:
                topic = log.topic("trial")
                topic.append(b"walrus")
                log.sync()
                back = [entry.data for entry in topic.read()]
                stats = log.stats()
        except (walrus.WalrusError, OSError) as error:
            yield Finding("a log", "fail", str(error), "what it says has to be put right first")
            return
    if back != [b"walrus"]:
        yield Finding("a log", "fail", f"read back {back!r}", "please report this")
    if stats.io == "io_uring":
        yield Finding("io_uring", "ok", "a log was written through it")
    else:
        yield Finding("io_uring", "warn", f"refused ({stats.io_fallback or 'no reason given'}): {stats.io} is used",
                      "look at kernel.io_uring_disabled and the container's seccomp profile; slower, as safe")
    if not stats.direct_io:
        yield Finding("log without O_DIRECT", "warn", "its files go through the page cache",
                      "sustained writing is slower; ext4 and XFS on a local disk take O_DIRECT")


def _direct_io(base: Path) -> Finding:
    name = "O_DIRECT"
    advice = "writes go through the page cache: slower when sustained, as safe"
    with tempfile.NamedTemporaryFile(prefix=".walrus-doctor-", dir=base) as file, mmap.mmap(-1, 4096) as page:
        try:
            descriptor = os.open(file.name, os.O_WRONLY | os.O_DIRECT)
        except OSError as error:
            return Finding(name, "warn", f"refused at open: {error.strerror}", advice)
        try:
            os.pwrite(descriptor, page, 0)
        except OSError as error:
            return Finding(name, "warn", f"refused at write: {error.strerror}", advice)
        finally:
            os.close(descriptor)
    return Finding(name, "ok", "4 KiB written with it")


def _limit_text(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else f"{value:,}"


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"{_limit_text(soft)} (at most {_limit_text(hard)})"
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS_COMFORTABLE:
        return Finding("RLIMIT_NOFILE", "ok", seen)
    return Finding("RLIMIT_NOFILE", "warn", seen, f"raise it to {DESCRIPTORS_COMFORTABLE} or more: ulimit -n")


def _locked_memory() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    seen = f"{_limit_text(soft)} bytes (at most {_limit_text(hard)})"
    enough = soft == resource.RLIM_INFINITY or soft >= MEMLOCK_BYTES_COMFORTABLE
    if enough or kernel_version() >= UNACCOUNTED_RING_KERNEL:
        return Finding("RLIMIT_MEMLOCK", "ok", seen)
    return Finding("RLIMIT_MEMLOCK", "warn", seen, "this kernel counts rings against it: ulimit -l 8192")


def _processor() -> Finding:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)).split())
    found = [flag for flag in ("sse4_2", "pclmulqdq", "vpclmulqdq", "avx512f", "crc32", "pmull") if flag in flags]
    if "sse4_2" in flags or "crc32" in flags:
        return Finding("CRC32C", "ok", ", ".join(found))
    return Finding("CRC32C", "warn", "the processor has no instruction for it", "the portable code is used: slower, as safe")
