"""SIGKILL at random instants: nothing that had returned is lost, no batch is torn, cursors stand where they were told."""
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

import walrus
from tests.child import command, environment
from tests.crash.load import TOPICS, payload

COMBINATIONS = [(schedule, backend, consistency)
                for schedule in ("none", "ms", "each") for backend in ("io_uring", "pwrite", "mmap")
                for consistency in ("strict", "at-least-once")]

KILLS = int(os.environ.get("WALRUS_KILLS", "216"))
SEED = int(os.environ.get("WALRUS_SEED", str(random.SystemRandom().randrange(1 << 30))))


class Oracle:
    """What the child has told: per topic the acknowledged end, what was in flight, the cursors."""

    def __init__(self) -> None:
        self.ends = [0] * len(TOPICS)
        self.flying: list[int] = [0] * len(TOPICS)
        self.cursors = [[0] for _ in TOPICS]
        self.consumed = [0] * len(TOPICS)

    def hear(self, lines: list[bytes]) -> None:
        for line in lines:
            kind, *rest = json.loads(line)
            if kind == "open":
                for i, end in enumerate(rest[0]):
                    assert end in (self.ends[i], self.ends[i] + self.flying[i]), f"topic {i} opened at {end}"
                    self.ends[i], self.flying[i] = end, 0
            elif kind == "append":
                self.flying[rest[0]] = rest[2]
            elif kind == "done":
                i, first, count = rest
                assert first == self.ends[i]
                self.ends[i], self.flying[i] = first + count, 0
            elif kind == "commit":
                self.cursors[rest[0]].append(rest[1])
            elif kind == "committed":
                self.cursors[rest[0]] = [rest[1]]
            elif kind == "consumed":
                i, offset = rest
                self.consumed[i] = offset + 1

    def check(self, path: Path, consistency: str) -> None:
        with walrus.open(path, timeout=30) as log:
            assert not log.recovery.ranges_damaged
            for i, name in enumerate(TOPICS):
                topic = log.topic(name)
                end = topic.end_offset
                assert end in (self.ends[i], self.ends[i] + self.flying[i]), \
                    f"topic {i} ends at {end}; {self.ends[i]} were acknowledged, {self.flying[i]} in flight"
                at = 0
                for entry in topic.read():
                    assert entry.offset == at
                    assert entry.data == payload(i, at), f"topic {i}, offset {at}"
                    at += 1
                assert at == end
                self.ends[i], self.flying[i] = end, 0
                assert topic.cursor("worker").committed in self.cursors[i], f"topic {i}: cursor"
                self.cursors[i] = [topic.cursor("worker").committed]
                stands = end - log.get_topic_entry_count(name)
                # Strictly: what was handed out (and told) never comes again; at least once: at most 7 come again.
                low = self.consumed[i] if consistency == "strict" else self.consumed[i] - 7
                assert low <= stands <= self.consumed[i] + 1, f"topic {i}: consumed {self.consumed[i]}, stands at {stands}"
                self.consumed[i] = stands


def kills(path: Path, seed: int, count: int, schedule: str, backend: str, consistency: str,
          env: dict[str, str] | None = None) -> int:
    """Kills a child `count` times; the number of operations that were acknowledged."""
    rng, oracle, heard = random.Random(seed), Oracle(), 0
    for _ in range(count):
        reading, writing = os.pipe()
        child = subprocess.Popen(
            command("tests.crash.load", path, rng.randrange(1 << 30), schedule, backend, consistency, writing),
            pass_fds=[writing], env=env or environment())
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            first = pipe.readline()
            if not first:
                raise AssertionError(f"seed {seed}: the child ended with {child.wait()}")
            deadline, lines = time.monotonic() + rng.choice((0.0, 0.02, 0.1, 0.4)) * rng.random(), [first]
            while time.monotonic() < deadline:
                lines.append(pipe.readline())
            os.kill(child.pid, signal.SIGKILL)
            lines += pipe.read().splitlines(keepends=True)
        assert child.wait() == -signal.SIGKILL, f"seed {seed}: the child ended by itself, with {child.returncode}"
        oracle.hear([line for line in lines if line.endswith(b"\n")])
        heard += len(lines)
        oracle.check(path, consistency)
    return heard


@pytest.mark.parametrize(("schedule", "backend", "consistency"), COMBINATIONS)
def test_nothing_acknowledged_is_lost_by_sigkill(tmp_path: Path, schedule: str, backend: str, consistency: str) -> None:
    count, seed = KILLS // len(COMBINATIONS), SEED
    print(f"seed {seed}: WALRUS_SEED={seed} repeats this run")
    assert kills(tmp_path / "log", seed, max(count, 1), schedule, backend, consistency) > count
