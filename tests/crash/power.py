"""Disk images that a power cut can leave, built from a trace of the device layer.

The rules of the simulated disk: a write is durable once a flush of its file, begun after the write had completed, has ended;
until then each of its sectors may be there or not, whatever the others do, and a write in flight likewise. A new file, a new
size, a new name and a removal may be undone until the directory (or, for a size, the file) is flushed. Files that are mapped
and written by stores (staging, control) hold anything: nothing, zeros, noise, or any mixture of pages of what they held at
some time; once they were flushed, of what they held since.
"""
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import trace
from tests.crash.workloads import mapped_write

SECTORS = (512, 4096)
MAPPED = ("staging", "control")


@dataclass
class Write:
    position: int
    data: bytes
    complete: bool = False


@dataclass
class File:
    """Durable bytes, and what was done to it since it was flushed."""

    durable: bytearray = field(default_factory=bytearray)
    size: int = 0
    size_durable: int = 0
    pending: dict[int, Write] = field(default_factory=dict)


class Disk:
    """What a prefix of the trace has done. apply() goes on by one record; image() is one way the cut may have ended."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.names: dict[str, int] = {}             # now
        self.names_durable: dict[str, int] = {}     # as of the last flush of the directory
        self.flushing: dict[int, tuple[int, list[int], int]] = {}
        self.directory_flush: dict[int, dict[str, int]] = {}
        self.marks: list[list[object]] = []
        self.settled: dict[str, int] = {}           # mapped files that were flushed: since which copy
        self.copies = 0                             # how many copies of the mapped files there are by now

    def file(self, number: int) -> File:
        return self.files.setdefault(number, File())

    def preload(self, directory: Path, marks: list[list[object]]) -> None:
        """Begins with what an earlier power cut left, and with what had been promised until then."""
        for number, path in enumerate(sorted(directory.iterdir()), 1 << 31):
            data = b"" if path.name in MAPPED else path.read_bytes()
            self.files[number] = File(bytearray(data), len(data), len(data))
            self.names[path.name] = self.names_durable[path.name] = number
        self.marks = list(marks)
        self.copies = 1
        self.settled["control"] = 0

    def apply(self, record: trace.Record) -> None:
        handler = getattr(self, "on_" + record.op.lower(), None)
        if handler is not None:
            handler(record)

    def on_open_log(self, r: trace.Record) -> None:
        # What a process that was killed had in flight has landed, and its end is in the trace, or never will.
        for file in self.files.values():
            file.pending = {s: w for s, w in file.pending.items() if w.complete}

    def on_create(self, r: trace.Record) -> None:
        self.names[r.name] = r.file
        self.file(r.file)

    def on_open(self, r: trace.Record) -> None:
        # The same file under a new number: what was known of it goes on.
        if r.name in self.names:
            self.files[r.file] = self.files[self.names[r.name]]
            for names in (self.names, self.names_durable):
                if r.name in names:
                    names[r.name] = r.file
        else:
            self.on_create(r)

    def on_write_begin(self, r: trace.Record) -> None:
        self.file(r.file).pending[r.sequence] = Write(r.position, r.data)
        self.file(r.file).size = max(self.file(r.file).size, r.position + len(r.data))

    def on_write_end(self, r: trace.Record) -> None:
        write = self.file(r.file).pending.get(r.sequence)
        if write is not None:
            write.complete = r.result >= 0

    def on_flush_begin(self, r: trace.Record) -> None:
        file = self.file(r.file)
        self.flushing[r.sequence] = (r.file, [s for s, w in file.pending.items() if w.complete], file.size)

    def on_flush_end(self, r: trace.Record) -> None:
        number, sequences, size = self.flushing.pop(r.sequence, (r.file, [], 0))
        if r.result < 0:
            return
        for name in MAPPED:
            if self.names.get(name) == number and self.copies:
                self.settled[name] = self.copies - 1
        file = self.file(number)
        file.size_durable = max(file.size_durable, size)
        for sequence in sequences:
            write = file.pending.pop(sequence, None)
            if write is not None:
                put(file.durable, write.position, write.data)

    def on_allocate(self, r: trace.Record) -> None:
        file = self.file(r.file)
        file.size = max(file.size, r.position + r.bytes)

    def on_truncate(self, r: trace.Record) -> None:
        self.file(r.file).size = r.bytes

    def on_punch(self, r: trace.Record) -> None:
        # Like a write of zeros: there at once, or not before the file is flushed.
        self.file(r.file).pending[r.sequence] = Write(r.position, bytes(r.bytes), complete=True)

    def on_rename(self, r: trace.Record) -> None:
        old, new = r.name.split("\0")
        self.names[new] = self.names.pop(old)

    def on_unlink(self, r: trace.Record) -> None:
        self.names.pop(r.name, None)

    def on_sync_directory_begin(self, r: trace.Record) -> None:
        self.directory_flush[r.sequence] = dict(self.names)

    def on_sync_directory_end(self, r: trace.Record) -> None:
        names = self.directory_flush.pop(r.sequence, None)
        if names is not None and r.result >= 0:
            self.names_durable = names
            for number in names.values():
                self.file(number).size_durable = max(self.file(number).size_durable, self.file(number).size)

    def on_mark(self, r: trace.Record) -> None:
        mark = json.loads(r.data)
        if mark[0] == "mapped":
            self.copies = mark[1] + 1
        else:
            self.marks.append(mark)

    # -- the cut

    def contents(self, number: int, rng: random.Random) -> bytes:
        file = self.file(number)
        size = file.size if rng.random() < 0.7 else max(file.size_durable, min(file.size, len(file.durable)))
        data = bytearray(file.durable)
        if len(data) < size:
            data.extend(bytes(size - len(data)))
        pending = list(file.pending.values())
        rng.shuffle(pending)
        how = rng.random()
        for write in pending:
            choice = rng.random()
            if how < 0.15 or (how > 0.3 and choice < 0.3):
                continue                            # nothing of it
            if how < 0.3 or choice < 0.55:
                put(data, write.position, write.data)
                continue
            sector = rng.choice(SECTORS)
            for at in range(0, len(write.data), sector):
                if rng.random() < 0.5:
                    put(data, write.position + at, write.data[at:at + sector])
        return bytes(data[:size] if size < len(data) else data)

    def image(self, target: Path, mapped: dict[str, list[bytes]], rng: random.Random) -> None:
        """Writes one possible directory into `target` (which is empty)."""
        names = dict(self.names_durable)
        for name, number in self.names.items():
            if self.names_durable.get(name) != number and rng.random() < 0.5:
                names[name] = number
        for name in list(names):
            if name not in self.names and rng.random() < 0.5:
                del names[name]                     # its removal had reached the disk
        for name, number in names.items():
            if name not in MAPPED:
                (target / name).write_bytes(self.contents(number, rng))
        for name in MAPPED:
            if name in self.names and self.copies:
                held = mapped[name][:self.copies]
                data = mixture(held[self.settled[name]:], rng) if name in self.settled else arbitrary(held, rng)
                if data is not None:
                    mapped_write(target / name, data)


def put(data: bytearray, position: int, new: bytes) -> None:
    if len(data) < position:
        data.extend(bytes(position - len(data)))
    data[position:position + len(new)] = new


def mixture(held: list[bytes], rng: random.Random) -> bytes:
    """What a file that was flushed holds when `held[0]` was in it, and was written by stores since."""
    pages = range(0, len(held[-1]), 4096)
    return b"".join(rng.choice(held)[at:at + 4096].ljust(4096, b"\0") for at in pages)[:len(held[-1])]


def arbitrary(held: list[bytes], rng: random.Random) -> bytes | None:
    """Any contents of a mapped file after a power cut; `held`: what it held at several times, the newest last."""
    choice = rng.random()
    newest = held[-1]
    if choice < 0.15:
        return None
    if choice < 0.3:
        return bytes(len(newest))
    if choice < 0.45:
        return newest
    recent = held[-4:] if choice < 0.8 else held
    data = bytearray(newest)
    noisy = choice > 0.7
    for at in range(0, len(data), 4096):
        what = rng.random()
        if what < 0.3:
            data[at:at + 4096] = bytes(4096)
        elif what < 0.75:
            data[at:at + 4096] = rng.choice(recent)[at:at + 4096].ljust(4096, b"\0")
        elif noisy and what < 0.77:
            data[at:at + 4096] = rng.randbytes(4096)
    return bytes(data[:len(newest)])


def turns(records: list[trace.Record], start: int) -> list[int]:
    """Where something is used again, made, removed, opened or cut off: what is just behind is worth more than other places."""
    return [i for i, r in enumerate(records) if i >= start and (
        r.op in ("RENAME", "UNLINK", "PUNCH", "CREATE", "ALLOCATE", "OPEN_LOG") or (r.op == "WRITE_BEGIN" and r.position == 0)
        or (r.op == "MARK" and r.data.startswith((b'["cut done"', b'["recovered"'))))] or [start]


def states(records: list[trace.Record], mapped: dict[str, list[bytes]], seed: int, count: int, target: Path,
           disk: Disk | None = None, start: int = 0) -> Iterator[tuple[int, int, list[list[object]]]]:
    """`count` crash states behind record `start`, each written into target/N: (N, records done, the oracle's marks until then).

    `disk`: what it is at the beginning of the trace; empty if not given.
    """
    rng = random.Random(seed)
    # Half of the cuts anywhere, half of them at turns: close behind, or a little further.
    near = turns(records, start)
    cuts = sorted(rng.randrange(start, len(records)) + 1 if rng.random() < 0.5
                  else min(len(records), rng.choice(near) + 1 + int(rng.expovariate(rng.choice((0.1, 0.5)))))
                  for _ in range(count))
    disk, done = disk or Disk(), 0
    for number, cut in enumerate(cuts):
        while done < cut:
            disk.apply(records[done])
            done += 1
        directory = target / str(number)
        directory.mkdir()
        disk.image(directory, mapped, random.Random(seed * 1_000_003 + number))
        yield number, cut, list(disk.marks)
