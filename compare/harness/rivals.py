"""The rivals: how each is built, called and versioned, and what it has no counterpart for.

`prepare()` builds a rival and gives its version; where that cannot be done it raises NotBuilt, whose text goes into the
table.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .packages import NotBuilt, cargo, maven, output_of, packages, run
from .workloads import Workload

__all__ = ["RIVALS", "NotBuilt", "Rival", "interpreter_environment"]

ROOT: Final = Path(__file__).resolve().parents[2]
COMPARE: Final = ROOT / "compare"
BUILD: Final = ROOT / "build" / "compare"
PEERS: Final = "a peer for Python users: compared by what one thread does"


@dataclass(frozen=True)
class Rival:
    """`lacks`: a workload's name or kind, and why it is not run; `notes`: what must be known to compare, by name or
    kind."""

    name: str
    title: str
    prepare: Callable[[], str]
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, dict[str, str | int | float]] = field(default_factory=dict)
    # Of the workloads that run for minutes a peer that is slower by orders is shown enough by less.
    seconds_max: float = 1e9
    is_limit: bool = False
    # What takes minutes to prepare is left out of a quick run.
    not_quick: tuple[str, ...] = ()

    def why_not(self, workload: Workload) -> str | None:
        """The reason, or None where it is run."""
        if workload.only and self.name not in workload.only:
            return "no counterpart"
        for key in (workload.name, workload.group, workload.kind):
            if key in self.lacks:
                return self.lacks[key]
        return (
            "not in a quick run" if workload.quick and {workload.name, workload.group} & set(self.not_quick) else None
        )

    def note(self, workload: Workload) -> str:
        """What the table says beside its figure."""
        return next(
            (self.notes[key] for key in (workload.name, workload.group, workload.kind) if key in self.notes), ""
        )

    def call(self, workload: Workload, args: dict[str, str | int | float], directory: Path) -> list[str]:
        """The command line of one run."""
        values = {**args, **self.arguments.get(workload.group, {}), **self.arguments.get(workload.name, {})}
        if "seconds" in values:
            values["seconds"] = min(float(values["seconds"]), self.seconds_max)
        return [*self.command, f"dir={directory}", *(f"{key}={value}" for key, value in values.items())]

    def settings(self) -> dict[str, str]:
        """Its settings files as they are, by name."""
        folder = COMPARE / "rivals" / self.name
        files = [
            file
            for pattern in ("settings.*", "*.properties", "src/settings.*")
            for file in sorted(folder.glob(pattern))
        ]
        return {str(file.relative_to(COMPARE)): file.read_text() for file in files}


def _python(name: str, interpreter: str = sys.executable) -> list[str]:
    return [interpreter, "-m", f"rivals.{name}.driver"]


WALRUS_PYTHON: Final = os.environ.get("WALRUS_PYTHON", sys.executable)


def _walrus() -> str:
    program = "import walrus; print(walrus.__version__)"
    commit = output_of(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]) if (ROOT / ".git").exists() else ""
    return f"{output_of([WALRUS_PYTHON, '-c', program])} {commit}".strip()


def _walrus_native() -> str:
    include = output_of([WALRUS_PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('include'))"])
    packages({"g++": "g++"})
    source = COMPARE / "rivals" / "walrus_native"
    target = BUILD / "walrus_native"
    target.mkdir(parents=True, exist_ok=True)
    packages_of_walrus = output_of(
        [WALRUS_PYTHON, "-c", "import walrus, os; print(os.path.dirname(os.path.dirname(walrus.__file__)))"]
    )
    run(
        [
            WALRUS_PYTHON,
            "-m",
            "cython",
            "-3",
            "--cplus",
            "-I",
            packages_of_walrus,
            "-o",
            str(target / "bridge.cpp"),
            str(source / "bridge.pyx"),
        ]
    )
    suffix = output_of([WALRUS_PYTHON, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"])
    run(
        [
            "g++",
            "-O2",
            "-std=c++17",
            "-shared",
            "-fPIC",
            "-pthread",
            "-w",
            "-I",
            include,
            "-I",
            str(source),
            "-o",
            str(target / f"bridge{suffix}"),
            str(target / "bridge.cpp"),
        ]
    )
    return _walrus()


def _compile(name: str, libraries: list[str]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    packages({"g++": "g++"})
    source = COMPARE / "rivals" / name / "driver.cpp"
    run(["g++", "-O2", "-std=c++17", "-msse4.2", "-pthread", "-o", str(BUILD / name), str(source), *libraries])


def _rocksdb(name: str) -> str:
    packages({"/usr/include/rocksdb/db.h": "librocksdb-dev"})
    _compile(name, ["-lrocksdb"])
    return output_of([str(BUILD / name), "--version"])


def _walrus_rust() -> str:
    compiler = cargo()
    source = COMPARE / "rivals" / "walrus_rust"
    run(
        [
            compiler,
            "build",
            "--release",
            "--locked",
            "--manifest-path",
            str(source / "Cargo.toml"),
            "--target-dir",
            str(BUILD / "walrus_rust"),
        ]
    )
    return f"0.2.0, {output_of([compiler, '--version'])}"


def _memory_limit() -> str:
    if not {"sse4_2"} & set(Path("/proc/cpuinfo").read_text().split()):
        raise NotBuilt("this CPU has no CRC32C instruction")
    _compile("memory_limit", [])
    return output_of(["g++", "-dumpfullversion"])


def _fio() -> str:
    packages({"fio": "fio"})
    return output_of(["fio", "--version"])


def _kafka() -> str:
    packages({"java": "default-jre-headless", "javac": "default-jdk-headless", "mvn": "maven"})
    target = BUILD / "kafka"
    target.mkdir(parents=True, exist_ok=True)
    source = COMPARE / "rivals" / "kafka"
    maven(source / "pom.xml", target / "lib")
    run(
        [
            "javac",
            "-cp",
            f"{target}/lib/*",
            "-d",
            str(target / "classes"),
            *map(str, sorted((source / "src").glob("*.java"))),
        ]
    )
    found = next((target / "lib").glob("kafka-server-4*.jar"), None)
    if found is None:
        raise NotBuilt("the Maven artifacts have no kafka-server")
    return found.stem.removeprefix("kafka-server-")


def _distribution(name: str) -> Callable[[], str]:
    def version() -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise NotBuilt(f"{name} is not installed: requirements/compare.txt") from None

    return version


def _sqlite() -> str:
    import sqlite3

    return sqlite3.sqlite_version


NO_CURSORS: Final = "it keeps no reading positions"
NATIVE: Final = "through Python: see walrus"
_WAL_READ: Final = "PutLogData can be read by a scan of the whole WAL only"

RIVALS: Final = (
    Rival("walrus", "Walrus for Python", _walrus, _python("walrus", WALRUS_PYTHON)),
    Rival(
        "walrus_native",
        "Walrus, native threads",
        _walrus_native,
        _python("walrus_native", WALRUS_PYTHON),
        lacks={"next": NATIVE, "read": NATIVE, "reopen": NATIVE, "space": NATIVE},
        notes={"flight": "append, then wait for durability when 2,048 are open"},
    ),
    Rival(
        "walrus_rust",
        "Rust Walrus",
        _walrus_rust,
        [str(BUILD / "walrus_rust" / "release" / "compare-walrus-rust")],
        arguments={"topics": {"durability": "each"}},
        notes={
            "long": "no retention by size: ends after 24 GiB; its batches flush, whatever the schedule",
            "topics": "has no sync: each append flushed (SyncEach); its time is shown as that of the sync",
            "topics_1": "",
            "read": "entries are consumed: hot is the page cache after writing, one pass",
            "fsync": "one fsync for each append, no group commit",
        },
    ),
    Rival(
        "rocksdb",
        "RocksDB",
        lambda: _rocksdb("rocksdb"),
        [str(BUILD / "rocksdb")],
        lacks={"next": NO_CURSORS},
        notes={
            "read": "an iterator; values are not copied",
            "topics": "a topic is a prefix of the key",
            "long": "FIFO compaction by bytes",
        },
    ),
    Rival(
        "rocksdb_wal",
        "RocksDB's bare WAL",
        lambda: _rocksdb("rocksdb_wal"),
        [str(BUILD / "rocksdb_wal")],
        lacks={"next": _WAL_READ, "read": _WAL_READ, "reopen": _WAL_READ, "topics": "it has no topics"},
        notes={
            "append": "no topics, not readable by topic or offset",
            "long": "no topics, not readable by topic or offset",
            "fsync": "no topics, not readable by topic or offset",
        },
    ),
    Rival(
        "kafka",
        "Kafka",
        _kafka,
        _python("kafka"),
        not_quick=(
            "topics_1",
            "topics_1000",
            "read_1kb_hot",
            "read_64kb_hot",
            "read_100b_cold",
            "read_1kb_cold",
            "reopen_clean",
            "space_batch",
            "next",
            "fsync_64",
        ),
        lacks={
            "topics_10000": "10,000 partitions are beyond one small broker",
            "read_one_of_1000": "1,000 partitions take minutes to make and to fill",
        },
        notes={
            "append": "acknowledged records only; broker and client on the same cores; CPU and memory of both",
            "long": "acknowledged records only; broker and client on the same cores; CPU and memory of both",
            "threads10_batch": "its client batches in any case (see no fsync); here 2,000 sends, then the last one "
            "awaited",
            "fsync": "flush.messages=1; each send awaited",
            "topics": "no sync on demand: flush.messages=1, all sends awaited",
            "next": "max.poll.records=1; strict: commitSync each, flush.messages=1 of the offsets topic not set, so "
            "not on the disk",
            "reopen": "mostly the start of a JVM, and after SIGKILL the 9 s until its old session has expired: until "
            "the broker gives the oldest record of each topic",
        },
    ),
    Rival(
        "plain_file",
        "Plain file, fdatasync",
        lambda: output_of([sys.executable, "--version"]),
        _python("plain_file"),
        seconds_max=10,
        lacks={"next": NO_CURSORS, "reopen": "it recovers nothing", "flight": "no counterpart"},
        notes={"append": "os.write per entry from Python", "long": "files grow until 24 GiB"},
    ),
    Rival(
        "sqlite",
        "sqlite3",
        _sqlite,
        _python("sqlite"),
        seconds_max=10,
        lacks={
            "fsync_64": PEERS,
            "read_64kb_cold": PEERS,
            "read_100b_cold": PEERS,
            "threads10_200ms": "no flush on a timer",
        },
        notes={
            "topics": "all in one transaction; nothing survives SIGKILL before its commit",
            "long": "one writer at a time",
        },
    ),
    Rival(
        "lmdb",
        "lmdb",
        _distribution("lmdb"),
        _python("lmdb"),
        seconds_max=10,
        lacks={"fsync_64": PEERS},
        notes={
            "topics": "all in one transaction; nothing survives SIGKILL before its commit",
            "long": "one writer at a time",
        },
    ),
    Rival(
        "persist_queue",
        "persist-queue",
        _distribution("persist-queue"),
        _python("persist_queue"),
        seconds_max=10,
        arguments={"next_strict": {"entries": 2000}, "next_at_least_once": {"entries": 20_000}},
        lacks={
            "topics": "a queue is a directory with its own database",
            "fsync_64": PEERS,
            "read": "gives one entry at a time",
            "reopen": PEERS,
            "space": PEERS,
            "threads10_200ms": "no flush on a timer",
            "threads10_batch": "no batches",
        },
        notes={
            "append": "each put is a commit and a flush: it has no option for less",
            "long": "each put is a commit and a flush",
        },
    ),
    Rival(
        "memory_limit",
        "Limit: memcpy + CRC32C",
        _memory_limit,
        [str(BUILD / "memory_limit")],
        is_limit=True,
        lacks=dict.fromkeys(
            ("fsync", "topics", "next", "read", "reopen", "space", "threads10_200ms", "threads10_batch"),
            "not a limit of it",
        ),
    ),
    Rival("fio", "Limit: fio", _fio, _python("fio"), is_limit=True),
)


def interpreter_environment() -> dict[str, str]:
    """Drivers in Python find `rivals`, and walrus where it is not installed."""
    more = os.environ.get("PYTHONPATH", "")
    paths = [str(COMPARE), *[path for path in more.split(os.pathsep) if path and path != str(COMPARE)]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "WALRUS_QUIET": "1", "COMPARE_BUILD": str(BUILD)}
