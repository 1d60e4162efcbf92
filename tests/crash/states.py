"""Crash states from beginning to end: a workload is run and traced, images are made of its trace, a judge opens each.

`search` is of one life of a log. `search_chains` is of several: a process is killed, or the power goes, another goes on with
what is there, and the power cuts that are tried hit that one, its opening too.
"""
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

from tests import trace
from tests.child import command, environment
from tests.crash import power
from tests.crash.workloads import WORKLOADS, mapped_read

BACKENDS = ("io_uring", "pwrite", "mmap")
PROBLEMS_MAX = 3
LINKS = 3                   # of a chain, at most: each is a crash and a process that goes on behind it
BOOTS = "23456789"


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


class Run:
    """Processes that work on one directory, one after another, into one trace."""

    def __init__(self, scratch: Path, backend: str, **more: str) -> None:
        self.scratch, self.backend, self.more = scratch, backend, more
        self.live, self.path = scratch / "live", scratch / "trace"
        self.path.touch()
        self.processes = 0

    def work(self, workload: str, seed: int, stop: int = 0, **more: str) -> None:
        """A process from its opening to its end by SIGKILL, or just as sudden; after `stop` marks, if that is not 0."""
        subprocess.run(command("tests.crash.workloads", workload, self.live, self.path, seed, self.backend, self.processes,
                               self.copies(), stop),
                       check=True, timeout=100,
                       env=environment(debug=True, WALRUS_TRACE=str(self.path), **{**self.more, **more}))
        self.processes += 1

    def copies(self) -> int:
        return len(list(self.scratch.glob("trace.staging.*")))

    def mapped(self) -> dict[str, list[bytes]]:
        return {name: [(self.scratch / f"trace.{name}.{i}").read_bytes() for i in range(self.copies())]
                for name in power.MAPPED}

    def settle(self) -> None:
        """Of a process that was killed: the record that it was writing goes, and writes that were in flight are entered as
        complete, with as much as landed.
        """
        names, flying, whole = {}, {}, 0
        for record in trace.read(self.path):
            whole += trace.HEADER.size + len(os.fsencode(record.name)) + len(record.data)
            if record.op in ("CREATE", "OPEN"):
                names[record.file] = record.name
            elif record.op == "RENAME":
                old, new = record.name.split("\0")
                names = {number: new if name == old else name for number, name in names.items()}
            elif record.op == "WRITE_BEGIN":
                flying[record.sequence] = record
            elif record.op == "WRITE_END":
                flying.pop(record.sequence, None)
        os.truncate(self.path, whole)
        with self.path.open("ab", buffering=0) as end:
            for record in flying.values():
                with (self.live / names[record.file]).open("rb") as file:
                    data = os.pread(file.fileno(), len(record.data), record.position)
                for op, position, size, more in (("WRITE_BEGIN", record.position, len(data), data), ("WRITE_END", 0, 0, b"")):
                    end.write(trace.HEADER.pack(trace.MAGIC, trace.OPS.index(op), record.file, 0, position, size,
                                                record.sequence) + more)

    def clear(self) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        for copy in self.scratch.glob("trace*"):
            copy.unlink()


def search(scratch: Path, workload: str, backend: str, seed: int, count: int, **more: str) -> list[str]:
    """Tries `count` states; what was wrong with them. `more` goes into the environment of workload and judge."""
    run = Run(scratch, backend, **more)
    run.work(workload, seed)
    records, mapped = trace.read(run.path), run.mapped()
    run.clear()
    return judged(scratch, f"{workload}, {backend}, seed {seed}", records, power.states(records, mapped, seed, count, scratch), **more)


def judged(scratch: Path, what: str, records: list[trace.Record], states, **more: str) -> list[str]:
    problems, judge = [], Judge(**more)
    try:
        for number, cut, marks in states:
            problem = judge(scratch / str(number), marks)
            if problem:
                problems.append(f"{what}, state {number}, cut at record {cut} of {len(records)}: {problem}")
                if len(problems) >= PROBLEMS_MAX:
                    break
    finally:
        judge.close()
    return problems


# ------------------------------------------------------------------------------------------------------------- chains

def killed_then_cut(scratch: Path, first: str, then: str, backend: str, seed: int, count: int, **more: str) -> list[str]:
    """`first` is killed, `then` goes on in the same boot; the power cuts hit that one."""
    rng, run = random.Random(seed), Run(scratch, backend, **more)
    run.work(first, seed, stop=rng.randrange(30, 200))
    for _ in range(rng.randrange(LINKS)):
        run.settle()
        run.work(then, rng.randrange(1 << 30), stop=rng.randrange(1, 90))
    run.settle()
    start = len(trace.read(run.path))
    run.work(then, seed)
    records, mapped = trace.read(run.path), run.mapped()
    run.clear()
    return judged(scratch, f"{first} killed, then {then}, {backend}, seed {seed}", records,
                  power.states(records, mapped, seed, count, scratch, start=start), **more)


def cut_then_cut(scratch: Path, first: str, then: str, backend: str, seed: int, count: int, **more: str) -> list[str]:
    """The power goes while `first` runs, `then` goes on with what is left; the power cuts hit that one."""
    rng, run = random.Random(seed), Run(scratch, backend, **more)
    run.work(first, seed)
    disk = None
    for boot in BOOTS[:1 + rng.randrange(LINKS)]:
        records, mapped = trace.read(run.path), run.mapped()
        run.clear()
        # Behind the first mark, so that there is something to lose.
        start = next(i for i, record in enumerate(records) if record.op == "MARK" and b"durable" in record.data)
        [(_, _, marks)] = power.states(records, mapped, rng.randrange(1 << 30), 1, scratch, disk, start)
        disk = power.Disk()
        (scratch / "0").rename(run.live)
        disk.preload(run.live, marks)
        for name in power.MAPPED:
            (scratch / f"trace.{name}.0").write_bytes(mapped_read(run.live / name))
        run.work(then, rng.randrange(1 << 30), WALRUS_OTHER_BOOT=boot)
    records, mapped = trace.read(run.path), run.mapped()
    run.clear()
    return judged(scratch, f"{first} cut, then {then}, {backend}, seed {seed}", records,
                  power.states(records, mapped, seed, count, scratch, disk), **more)


CHAINS = {"killed": killed_then_cut, "cut": cut_then_cut}


def search_chains(scratch: Path, kind: str, backend: str, seed: int, count: int, each: int = 20, **more: str) -> list[str]:
    """As `search`, over chains of workloads drawn by the seed, `each` states of one."""
    rng, problems = random.Random(seed), []
    for _ in range(max(1, count // each)):
        first, then = rng.choice(list(WORKLOADS)), rng.choice(list(WORKLOADS))
        problems += CHAINS[kind](scratch, first, then, backend, rng.randrange(1 << 30), each, **more)
        for left in scratch.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if len(problems) >= PROBLEMS_MAX:
            break
    return problems
