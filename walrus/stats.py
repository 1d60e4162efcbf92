"""What a log says of itself: counters since it was opened, what opening found, what a repair did. Frozen dataclasses, one field a
fact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["ReaderStats", "Recovery", "Repair", "Stats"]


@dataclass(frozen=True)
class Stats:
    """Counters since the log was opened, and its present state. Sizes in bytes, times in nanoseconds."""

    io: Literal["io_uring", "pwrite", "mmap"]
    """the way to the disk that is in use"""
    io_fallback: str | None
    """why io_uring is not used though it was wanted; None where it is, or was not"""
    direct_io: bool
    """every file is written by O_DIRECT (False: the file system refused it somewhere)"""
    full: bool
    """there is no space for a log file now"""
    failed: bool
    """a write or a flush failed: appends are refused"""
    epoch: int
    """raised by each open"""
    topics: int
    staging_bytes: int
    staging_free_bytes: int
    log_files: int
    log_file_bytes: int
    log_files_created: int
    log_files_recycled: int

    appends: int
    """frames written: single entries and batches"""
    extents: int
    extent_bytes: int
    gathered_extents: int
    """extents of many cold topics"""
    syncs: int
    records: int
    """records of the journal"""
    record_bytes: int
    room_waits: int
    """times an append waited for room"""
    room_wait_ns: int
    evictions: int
    snapshots: int
    punched_bytes: int

    writes: int
    written_bytes: int
    direct_bytes: int
    """of written_bytes, by O_DIRECT"""
    reads: int
    read_bytes: int
    flushes: int
    flush_ns: int
    submissions: int
    """io_uring_submit calls"""
    submitted: int
    """requests (SQEs) in them"""
    submitted_max: int
    """most requests in one submission: up to 2,000, by ``read_many``"""
    short_transfers: int
    waits: int
    """times the I/O thread slept"""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Stats:
        """Out of what the compiled part gives."""
        code = state["io_fallback_errno"]
        values = {field.name: state[field.name] for field in fields(cls) if field.name != "io_fallback"}
        return cls(io_fallback=os.strerror(abs(code)) if code else None, **values)


@dataclass(frozen=True)
class ReaderStats:
    """What a process that only reads knows of a log."""

    topics: int
    writer_pid: int
    """of the process that opened it last for writing, which may have ended"""
    closed_cleanly: bool
    """that process closed it"""
    epoch: int
    """how often it was opened for writing, and truncations"""
    staging_bytes: int
    """size of the mapped file that new entries lie in"""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> ReaderStats:
        """Out of what the compiled part gives."""
        return cls(**facts)


@dataclass(frozen=True)
class Recovery:
    """What opening the log found and did."""

    created: bool
    """the directory held no log"""
    unclean: bool
    """the last writer did not close it"""
    files_listed: int
    """log files that did not need scanning"""
    files_scanned: int
    extents_scanned: int
    records_read: int
    """records of the journal"""
    changes_applied: int
    chunks_adopted: int
    """pieces of staging that held entries not yet in a log file"""
    frames_cut: int
    """what was torn, or belonged to an earlier life of the log"""
    ranges_damaged: int
    """ranges of entries that had been durable and do not validate"""
    headers_damaged: int
    """places in files that had been flushed and hold nothing that validates: their entries were looked for by their own checksums"""
    older_catalog: int
    """the newest snapshot of the catalog did not validate; the one before it was used"""
    duration_ns: int

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Recovery:
        """Out of what the compiled part gives."""
        values = {field.name: state[field.name] for field in fields(cls)}
        values["created"] = bool(values["created"])
        values["unclean"] = bool(values["unclean"])
        return cls(**values)


@dataclass(frozen=True)
class Repair:
    """What ``repair()`` did to a topic."""

    topic: str
    holes: tuple[tuple[int, int], ...]
    """offsets [first, end) of the entries that are lost; empty where there was nothing to repair"""
    copy: str | None
    """directory with the files that hold the damage and what lies beside it, as they were; None where nothing was repaired"""
