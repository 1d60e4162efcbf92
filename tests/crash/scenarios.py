"""Named scenarios for rules that a power cut does not show: each gives '' or what went wrong while its rule was broken."""
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import walrus
from tests.child import environment

SIZE, ENTRIES, NTH = 60_000, 60, range(6, 12)         # of an entry: a chunk and an extent of its own
APPENDS = """
import os, sys, time, walrus
log = walrus.open(sys.argv[1], fsync_schedule=walrus.FsyncSchedule.NoFsync, backend="io_uring",
                  staging_bytes=8 << 20)
done = 0
try:
    while done < int(sys.argv[2]):
        log.topic("t").append(b"%d " % done + b"." * int(sys.argv[3]))
        done += 1
except walrus.WalrusError:
    pass
time.sleep(0.3)                                         # writes are made, and land
print(done, flush=True)
os._exit(0)
"""


def write_fails(directory: Path, rule: str, control: bool) -> str:
    """An extent's write fails, those behind it land, the process dies: what it had appended is in staging, all the same.

    Without the control table nothing tells that entries are missing, and opening does not look behind the gap.
    """
    for nth in NTH:
        path = directory / f"log-{nth}"
        walrus.open(path, staging_bytes=8 << 20, log_file_bytes=8 << 20, journal_file_bytes=1 << 20).close()
        env = environment(debug=True, WALRUS_FAULT=f"write:{nth}:EIO", WALRUS_BREAK_RULE=rule)
        child = subprocess.run([sys.executable, "-P", "-c", APPENDS, str(path), str(ENTRIES), str(SIZE)], env=env,
                               stdout=subprocess.PIPE, check=True, timeout=60)
        done = int(child.stdout)
        if not control:
            (path / "control").unlink()
        try:
            with walrus.open(path) as log:
                found = [entry.data.split()[0] for entry in log.topic("t").read()]
        except walrus.WalrusError as error:
            return f"write {nth} failed: {error}"
        if found[:done] != [b"%d" % offset for offset in range(done)]:
            return f"write {nth} failed, {done} appends had returned, SIGKILL left {len(found)}"
    return ""


def chunk_complete(directory: Path) -> str:
    return write_fails(directory, "chunk_complete", control=True)


def chunk_prefix(directory: Path) -> str:
    return write_fails(directory, "chunk_prefix", control=False)


CURSOR_SLOT, SLOT_BYTES, VALUES = 128 << 20, 128, (64, 96)       # of the first cursor, in the control file
BEGIN, CRC, STAMP, STORED, END = (0, 4), (4, 4), (8, 8), (16, 8), (24, 4)
COMMITS = """
import os, sys, walrus
log = walrus.open(sys.argv[1], fsync_schedule=walrus.FsyncSchedule.NoFsync)
log.topic("t").append_batch([b"x"] * 20)
for value in (3, 5, 7):
    log.topic("t").cursor("c").commit(value)
    print(flush=True)
    sys.stdin.readline()
os._exit(0)
"""


def states_between(before: bytes, after: bytes) -> list[bytes]:
    """A slot as a process may leave it that is killed while it stores `after` over `before`."""
    states = [before]
    for value in VALUES:
        for fields in [[BEGIN, *some] for count in range(4) for some in combinations((CRC, STAMP, STORED), count)]:
            state = bytearray(before)
            for at, size in fields:
                state[value + at:value + at + size] = after[value + at:value + at + size]
            states.append(bytes(state))
    return [*states, after]


def stores_cut_short(directory: Path, env: dict[str, str]) -> str:
    """SIGKILL at each instruction of a commit of 7 after one of 5: what a reader finds then, where it is neither."""
    writer = subprocess.Popen([sys.executable, "-P", "-c", COMMITS, str(directory)], env=env, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert writer.stdin is not None
    assert writer.stdout is not None
    slots = []
    with writer:
        for _ in range(3):
            assert writer.stdout.readline() == b"\n"
            with (directory / "control").open("rb") as control:
                control.seek(CURSOR_SLOT)
                slots.append(control.read(SLOT_BYTES))
            writer.stdin.write(b"\n")
            writer.stdin.flush()
    with walrus.open(directory, read_only=True) as reader, (directory / "control").open("r+b", buffering=0) as control:
        for state in states_between(slots[1], slots[2]):
            control.seek(CURSOR_SLOT)
            control.write(state)
            try:
                found = reader.topic("t").cursor("c").committed
            except walrus.CorruptionError as error:
                return str(error)
            if found not in (5, 7):
                return f"5 had been committed, 7 was under way, the cursor stands at {found}"
    return ""


def slot_pair(directory: Path) -> str:
    return stores_cut_short(directory / "log", environment(debug=True, WALRUS_BREAK_RULE="slot_pair"))


ROUNDS, APART = 6, 1 << 16
FILLS = """
import sys, walrus
log = walrus.open(sys.argv[1], fsync_schedule=walrus.FsyncSchedule.NoFsync, backend="io_uring", staging_bytes=128 << 20,
                  log_file_bytes=128 << 20, journal_file_bytes=1 << 20, timeout=30)
data, done = b"late" * (1 << 18), 0
while True:
    log.topic("t").append(data)
    done += 1
    if done == 100:
        print(flush=True)
"""


def samples(directory: Path) -> list[tuple[str, int, bytes]]:
    """A few bytes of each large write to log files, the latest first."""
    found = []
    for path in sorted(directory.glob("log-*"), reverse=True):
        with path.open("rb", buffering=0) as file:
            for at in reversed(range(0, path.stat().st_size, APART)):
                found.append((path.name, at, os.pread(file.fileno(), 8, at)))
    return found


def late_writes(directory: Path, rule: str) -> str:
    """SIGKILL with many large writes in flight: once the lock can be had, none of them lands any more."""
    for number in range(ROUNDS):
        path = directory / f"log-{number}"
        env = environment(debug=True, WALRUS_BREAK_RULE=rule)
        with subprocess.Popen([sys.executable, "-P", "-c", FILLS, str(path)], env=env, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with (path / "lock").open("rb") as lock:
                os.kill(writer.pid, signal.SIGKILL)
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = samples(path)
                time.sleep(1)
                for (name, at, old), (_, _, new) in zip(before, samples(path), strict=True):
                    if old != new:
                        return f"SIGKILL {number}: the lock was free, and a write landed in {name} at {at}"
        shutil.rmtree(path)
    return ""


def open_waits(directory: Path) -> str:
    return late_writes(directory, "open_waits")
