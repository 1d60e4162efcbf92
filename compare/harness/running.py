"""Runs one workload of one rival: fills where it is asked for, kills, drops caches, measures, cleans up.

A run has a process group of its own and is ended when it takes too long or too much of the disk. Nothing of it stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .machine import disk_bytes, drop_caches, free_bytes
from .rivals import Rival, interpreter_environment
from .workloads import Workload

__all__ = ["RunFailed", "expected_seconds", "run_one"]

GIB: Final = 1 << 30
DISK_BYTES_MAX: Final = 30 * GIB
FREE_BYTES_LEAST: Final = 2 * GIB
GRACE_SECONDS: Final = 600.0  # over what was asked for: filling, flushing, starting
TICK_SECONDS: Final = 0.2
LOOK_AT_DISK_SECONDS: Final = 2.0
ERROR_CHARACTERS: Final = 400


class RunFailed(Exception):
    """It ended without a result; the text says why."""


class Driver:
    """A driver's process and what it prints. The last line is the result."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self.command = command
        self.directory = directory
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.errors,
            start_new_session=True,
            cwd=directory.parent,
            env={**interpreter_environment(), "WALRUS_DATA_DIR": str(directory)},
        )

    def result(self) -> dict[str, Any] | None:
        """The last whole line that is JSON."""
        self.output.seek(0)
        for line in reversed(self.output.read().splitlines(keepends=True)):
            if line.startswith("{") and line.endswith("\n"):
                found: dict[str, Any] = json.loads(line)
                return found
        return None

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds_max: float, tick: Callable[[], None], until_result: bool = False) -> dict[str, Any]:
        """Until it ends, or with `until_result` until it has said its result and waits. RunFailed in all other
        cases."""
        deadline = time.monotonic() + seconds_max
        look = time.monotonic() + LOOK_AT_DISK_SECONDS
        while self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(TICK_SECONDS)
            tick()
            if until_result and (found := self.result()) is not None:
                return found
            if time.monotonic() > look:
                self._check_disk()
                look = time.monotonic() + LOOK_AT_DISK_SECONDS
            if time.monotonic() > deadline:
                self.kill()
                raise RunFailed(f"no end after {seconds_max:.0f} s")
        found = self.result()
        if self.process.returncode or found is None:
            self.errors.seek(0)
            said = " ".join(self.errors.read().split())[-ERROR_CHARACTERS:]
            raise RunFailed(f"exit code {self.process.returncode}: {said}")
        return found

    def _check_disk(self) -> None:
        if free_bytes(self.directory.parent) < FREE_BYTES_LEAST:
            self.kill()
            raise RunFailed(f"less than {FREE_BYTES_LEAST // GIB} GiB free on the disk")
        if disk_bytes(self.directory) > DISK_BYTES_MAX:
            self.kill()
            raise RunFailed(f"more than {DISK_BYTES_MAX // GIB} GiB on the disk")

    def close(self) -> None:
        """No process of it is left, nor what it printed."""
        self.kill()
        self.output.close()
        self.errors.close()


def expected_seconds(rival: Rival, workload: Workload) -> float:
    """For the display of progress only."""
    seconds = min(float(workload.args.get("seconds", 1.0)), rival.seconds_max) if workload.kind != "read" else 1.0
    return seconds + (8.0 if rival.name == "kafka" else 0.5) * (2 if workload.fill else 1)


def _limit_arguments(workload: Workload) -> dict[str, str | int | float]:
    return {"kind": "append", "mode": workload.limit, "seconds": min(20.0, float(workload.args.get("seconds", 10.0)))}


def run_one(rival: Rival, workload: Workload, base: Path, tick: Callable[[], None]) -> dict[str, Any]:
    """The driver's line, with what the harness adds. RunFailed where there is none."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
    directory = folder / "data"
    limit = float(workload.args.get("seconds", 0)) * 2 + GRACE_SECONDS
    drivers: list[Driver] = []

    def drive(args: dict[str, str | int | float], until_result: bool = False) -> dict[str, Any]:
        drivers.append(Driver(rival.call(workload, args, directory), directory))
        return drivers[-1].wait(limit, tick, until_result)

    try:
        if rival.name == "fio":
            return drive(_limit_arguments(workload))
        added: dict[str, Any] = {}
        if workload.fill:
            added["filled"] = drive(workload.fill, workload.kill)
            added["filled"].pop("series", None)
            if workload.kill:
                drivers[-1].kill()
            if workload.cold:
                added["caches"] = drop_caches(directory)
        result = drive(workload.args)
        if workload.group == "space":
            added["disk_bytes"] = disk_bytes(directory)
        return {**result, **added}
    finally:
        for driver in drivers:
            driver.close()
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()  # the next one does not pay for what this one left in the page cache
