"""What the figures were measured on: processor, memory, kernel, disk, file system, and how busy it was."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["describe", "disk_bytes", "drop_caches", "free_bytes"]


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _field(path: str, name: str) -> str:
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _mount(directory: Path) -> dict[str, str]:
    """The mount that a directory lies on: the longest mount point above it."""
    best = {"device": "", "point": "", "file_system": "", "options": ""}
    for line in _text("/proc/self/mounts").splitlines():
        device, point, kind, options = line.split()[:4]
        inside = directory == Path(point) or Path(point) in directory.parents
        if inside and len(point) >= len(best["point"]):
            best = {"device": device, "point": point, "file_system": kind, "options": options}
    return best


def describe(directory: Path) -> dict[str, Any]:
    """All of it, for results.json and the head of the table."""
    mount = _mount(directory.resolve())
    block = Path("/sys/class/block") / Path(mount["device"]).name
    detect = shutil.which("systemd-detect-virt")
    virtual = subprocess.run([detect], capture_output=True, text=True, check=False) if detect else None
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_bytes": int(_field("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "virtualization": virtual.stdout.strip()
        if virtual
        else "hypervisor"
        if "hypervisor" in _text("/proc/cpuinfo")
        else "",
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        **mount,
        "scheduler": _text(str(block / "queue/scheduler")),
        "rotational": _text(str(block / "queue/rotational")),
        "write_cache": _text(str(block / "queue/write_cache")),
        "load_at_start": os.getloadavg()[0],
    }


def disk_bytes(directory: Path) -> int:
    """What the files of a directory take: allocated blocks, holes left out."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # a rival at work deletes files
    return total


def free_bytes(directory: Path) -> int:
    """For those who are not root."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def drop_caches(directory: Path) -> str:
    """So that what is read afterwards comes from the disk. Says how."""
    os.sync()
    for folder, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return "posix_fadvise on its files (not root)"
    return "all page caches dropped"
