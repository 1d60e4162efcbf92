"""Named scenarios for rules that a power cut does not show: each gives '' or what went wrong while its rule was broken."""
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import walrus
from tests.child import environment
from tests.crash.test_sigkill import kills


def killed(directory: Path, rule: str) -> str:
    """A child of the debug build is killed again and again under load; it and nobody else breaks the rule."""
    env = environment(debug=True, WALRUS_BREAK_RULE=rule)
    for seed, backend in enumerate(("io_uring", "io_uring", "mmap")):
        try:
            kills(directory / f"log-{seed}", seed, 12, "none", backend, "strict", env)
        except Exception as error:  # whatever it is, something noticed
            return f"SIGKILL, {backend}: {type(error).__name__}: {error}"
    return ""


def chunk_complete(directory: Path) -> str:
    return killed(directory, "chunk_complete")


def chunk_prefix(directory: Path) -> str:
    return killed(directory, "chunk_prefix")


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
