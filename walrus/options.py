"""What ``open()`` takes, checked when it is given: options, environment, and where a log's directory lies.

``resolve()`` turns the arguments of ``open()`` and of the builder into Options; the environment is read there, once. Keys
become names of directories by an injective map that never leaves the data directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from .schedules import FsyncSchedule, ReadConsistency

__all__ = ["Backend", "Options", "Retention", "directory_of_key", "environment_flag", "resolve"]

Retention = int | Literal["consumed"] | None
Backend = Literal["auto", "io_uring", "pwrite", "mmap"]

DATA_DIRECTORY: Final = "wal_files"
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

STAGING_BYTES: Final = (1 * MIB, 64 * GIB)
LOG_FILE_BYTES: Final = (256 * KIB, 64 * GIB)
JOURNAL_FILE_BYTES: Final = (128 * KIB, 4 * GIB)
CHUNK_BYTES: Final = (1 * KIB, 1 * MIB)
BLOCK_BYTES: Final = 4096
RETENTION_BYTES_MAX: Final = (1 << 63) - 1

_WAYS: Final = {"auto": 0, "io_uring": 1, "pwrite": 2, "mmap": 3}
_SCHEDULES: Final = {"no_fsync": 0, "sync_each": 1, "milliseconds": 2}
_FOREVER_NS: Final = (1 << 64) - 1
_PLAIN_KEY_MAX: Final = 200  # longer ones go by a checksum: file names have 255 bytes
_ESCAPED: Final = "ns_"  # what no plain key's directory begins with


@dataclass(frozen=True)
class Options:
    """A log's options, checked. ``engine`` is what the compiled part takes."""

    path: str
    consistency: ReadConsistency
    quiet: bool
    engine: Mapping[str, int]


def environment_flag(name: str) -> bool:
    """Is the variable set to something that means yes?"""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")


def directory_of_key(key: str) -> str:
    """The directory's name for a key (a namespace): no two keys have the same one, none has a slash or is ``.`` or
    ``..``.

    Keys of ASCII letters, digits, ``-`` and ``_`` (1 to 200 of them, not beginning with ``ns_``) name their directory.
    Any other key becomes ``ns_x`` and its UTF-8 bytes in hexadecimal; a long one ``ns_h`` and its SHA-256; the empty
    one ``ns_e``.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    if key == "":
        return _ESCAPED + "e"
    plain = key.isascii() and all(c.isalnum() or c in "-_" for c in key)
    if plain and len(key) <= _PLAIN_KEY_MAX and not key.lower().startswith(_ESCAPED):
        return key
    encoded = key.encode("utf-8", "surrogatepass")
    if len(encoded) <= _PLAIN_KEY_MAX // 2:
        return _ESCAPED + "x" + encoded.hex()
    return _ESCAPED + "h" + sha256(encoded).hexdigest()


def resolve(
    path: str | os.PathLike[str] | None = None,
    *,
    key: str | None = None,
    consistency: ReadConsistency | None = None,
    fsync_schedule: FsyncSchedule | None = None,
    retention: Retention = None,
    staging_bytes: int | None = None,
    log_file_bytes: int | None = None,
    journal_file_bytes: int | None = None,
    chunk_bytes_max: int | None = None,
    backend: Backend = "auto",
    timeout: float | None = None,
    fd_backend: bool = True,
) -> Options:
    """Checks what was given, reads the environment. ValueError names option, value and range; TypeError the type."""
    consistency = ReadConsistency.StrictlyAtOnce if consistency is None else consistency
    if not isinstance(consistency, ReadConsistency):
        raise TypeError(f"consistency is a ReadConsistency, not {type(consistency).__name__}")
    schedule = FsyncSchedule.Milliseconds(200) if fsync_schedule is None else fsync_schedule
    if not isinstance(schedule, FsyncSchedule):
        raise TypeError(f"fsync_schedule is a FsyncSchedule, not {type(schedule).__name__}")
    kind, bytes_kept = _retention(retention)
    wait_ns = _wait_ns(timeout)
    file_bytes = _size("log_file_bytes", log_file_bytes, LOG_FILE_BYTES)
    engine = {
        "staging_bytes": _size("staging_bytes", staging_bytes, STAGING_BYTES),
        "log_file_bytes": file_bytes,
        "journal_file_bytes": _size("journal_file_bytes", journal_file_bytes, JOURNAL_FILE_BYTES),
        "chunk_class_max": _largest_chunk(chunk_bytes_max, file_bytes).bit_length() - CHUNK_BYTES[0].bit_length(),
        "retention": kind,
        "retention_bytes": bytes_kept,
        "schedule": _SCHEDULES[schedule.kind],
        "schedule_ms": schedule.milliseconds,
        "way": _WAYS[_backend(backend, fd_backend)],
        "lock_wait_ns": 0 if timeout is None else wait_ns,
        "room_wait_ns": wait_ns,
    }
    return Options(_directory(path, key), consistency, environment_flag("WALRUS_QUIET"), engine)


def _directory(path: Any, key: str | None) -> str:
    """With a path, the environment is ignored; an explicit key wins over the environment's."""
    if path is None:
        base = _checked_path(os.environ.get("WALRUS_DATA_DIR") or DATA_DIRECTORY, "WALRUS_DATA_DIR")
        if key is None:
            key = os.environ.get("WALRUS_INSTANCE_KEY") or None
    else:
        base = _checked_path(path, "path")
    return base if key is None else os.path.join(base, directory_of_key(key))


def _checked_path(path: Any, name: str) -> str:
    try:
        text = os.fsdecode(os.fspath(path))
    except TypeError:
        raise TypeError(f"{name} is a str or a path, not {type(path).__name__}") from None
    if not text:
        raise ValueError(f"{name} is empty; '.' is the current directory")
    if "\0" in text:
        raise ValueError(f"{name}={text!r}: a path has no NUL character")
    text = os.path.abspath(text)
    if len(os.fsencode(text)) >= 4096:
        raise ValueError(f"{name} has {len(os.fsencode(text))} bytes; the limit is 4095")
    return text


def _size(name: str, value: int | None, allowed: tuple[int, int], power_of_two: bool = False) -> int:
    """0 where none was given: the engine has its default."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if not allowed[0] <= value <= allowed[1]:
        raise ValueError(f"{name}={value}: from {allowed[0]} to {allowed[1]} bytes")
    if power_of_two and value & (value - 1):
        raise ValueError(f"{name}={value}: a power of two from {allowed[0]} to {allowed[1]} bytes")
    return value if power_of_two else -(-value // BLOCK_BYTES) * BLOCK_BYTES


def _largest_chunk(value: int | None, file_bytes: int) -> int:
    """A log file holds several chunks, whatever its size."""
    limit = CHUNK_BYTES[1] if file_bytes == 0 else min(CHUNK_BYTES[1], 1 << (file_bytes // 4).bit_length() - 1)
    chunk = _size("chunk_bytes_max", value, CHUNK_BYTES, power_of_two=True)
    if chunk > limit:
        raise ValueError(f"chunk_bytes_max={value}: at most a quarter of log_file_bytes={file_bytes}")
    return chunk or limit


def _retention(value: Any) -> tuple[int, int]:
    if value is None:
        return 0, 0
    if value == "consumed":
        return 1, 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'retention={value!r}: None (keep all), "consumed", or payload bytes to keep of each topic (an int)')
    if not 1 <= value <= RETENTION_BYTES_MAX:
        raise ValueError(f"retention={value}: from 1 to {RETENTION_BYTES_MAX} payload bytes")
    return 2, value


def _wait_ns(timeout: Any) -> int:
    if timeout is None:
        return _FOREVER_NS
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout={timeout!r}: seconds, 0 or more, or None (open: do not wait for the lock; append: "
                         "wait for ever)")
    return _FOREVER_NS if timeout >= 1e9 else int(timeout * 1e9)


def _backend(backend: Any, fd_backend: bool) -> str:
    if backend not in _WAYS:
        raise ValueError(f'backend={backend!r}: one of "auto", "io_uring", "pwrite", "mmap"')
    if backend != "auto":
        return str(backend)
    if not fd_backend:
        return "mmap"
    return "pwrite" if environment_flag("WALRUS_DISABLE_IO_URING") else "auto"
