"""Power cuts at every write boundary of small workloads: each image that may be left is held against what was promised.

WALRUS_STATES sets how many states are tried (3,000 by default, over all workloads and ways to the disk), WALRUS_SEED from where.
"""
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import trace
from tests.child import DEBUG_BUILD, command, environment
from tests.crash import power

WORKLOADS = ("appends", "cursors", "journal", "truncations", "recycling", "large", "reopened")
BACKENDS = ("io_uring", "pwrite", "mmap")
STATES = int(os.environ.get("WALRUS_STATES", "3000"))
SEED = int(os.environ.get("WALRUS_SEED", str(random.SystemRandom().randrange(1 << 30))))

pytestmark = pytest.mark.skipif(not DEBUG_BUILD.is_dir(), reason="needs the debug build: make debug")


class Judge:
    """A process of the debug build that opens states and says what is wrong with them."""

    def __init__(self, **more: str) -> None:
        self.env = environment(debug=True, WALRUS_OTHER_BOOT="1", **more)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(command("tests.crash.judge"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=self.env, stderr=subprocess.PIPE)

    def __call__(self, directory: Path, marks: list[list[object]]) -> str:
        try:
            self.process.stdin.write(json.dumps({"directory": str(directory), "marks": marks}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return json.loads(answer)
        text = self.process.stderr.read()
        code = self.process.wait()
        self.start()
        return f"the process that opened it ended with {code}: {text[-500:]}"

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def record(scratch: Path, workload: str, seed: int, backend: str,
           **more: str) -> tuple[list[trace.Record], dict[str, list[bytes]]]:
    """Runs the workload; its trace, and what the mapped files held on the way."""
    directory, path = scratch / "live", scratch / "trace"
    path.touch()
    subprocess.run(command("tests.crash.workloads", workload, directory, path, seed, backend), check=True, timeout=100,
                   env=environment(debug=True, WALRUS_TRACE=str(path), **more))
    copies = len(list(scratch.glob("trace.staging.*")))
    mapped = {name: [(scratch / f"trace.{name}.{i}").read_bytes() for i in range(copies)] for name in power.MAPPED}
    records = trace.read(path)
    shutil.rmtree(directory)
    for copy in scratch.glob("trace*"):
        copy.unlink()
    return records, mapped


def search(scratch: Path, workload: str, backend: str, seed: int, count: int, **more: str) -> list[str]:
    """Tries `count` states; what was wrong with them. `more` goes into the environment of workload and judge."""
    records, mapped = record(scratch, workload, seed, backend, **more)
    problems, judge = [], Judge(**more)
    try:
        for number, cut, marks in power.states(records, mapped, seed, count, scratch):
            problem = judge(scratch / str(number), marks)
            if problem:
                problems.append(f"{workload}, {backend}, seed {seed}, state {number} of {count}, cut at record {cut} of "
                                f"{len(records)}: {problem}")
                if len(problems) >= 3:
                    break
    finally:
        judge.close()
    return problems


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_power_cut_loses_what_was_durable(scratch: Path, workload: str, backend: str) -> None:
    count, seed = STATES // (len(WORKLOADS) * len(BACKENDS)), SEED
    print(f"seed {seed}: WALRUS_SEED={seed} repeats this run")
    assert search(scratch, workload, backend, seed, count) == []
