"""Kafka: formats its storage, starts a broker, runs the Java client, adds the broker's CPU and memory, stops the
broker.

A directory that has been formatted is started again as it is. Broker and client are in this process's group, so that
the harness
can kill all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from ..job import Job
from . import settings

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("COMPARE_BUILD", HERE.parents[2] / "build" / "compare")) / "kafka"
CLASSES = f"{BUILT}/classes:{BUILT}/lib/*"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


class Broker:
    """The broker's process."""

    def __init__(self, job: Job) -> None:
        self.directory = Path(job.dir)
        self.port, controller = free_ports(2)
        self.directory.mkdir(parents=True, exist_ok=True)
        text = (HERE / "server.properties").read_text()
        for name, value in (("CONTROLLER_PORT", controller), ("PORT", self.port), ("DIR", self.directory / "logs")):
            text = re.sub(rf"\b{name}\b", str(value), text)
        properties = self.directory / "server.properties"
        properties.write_text(text)
        java = ["java", *settings.QUIET, "-cp", CLASSES]
        if not (self.directory / "logs").exists():
            format_ = [*java, "kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()), "-c", str(properties)]
            subprocess.run(format_, check=True, capture_output=True)
        self.began = time.perf_counter()
        self.said = (self.directory / "broker.out").open("ab")
        self.process = subprocess.Popen(
            ["java", *settings.BROKER_JVM, *settings.QUIET, "-cp", CLASSES, "kafka.Kafka", str(properties)],
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=subprocess.STDOUT,
        )

    def cpu_seconds(self) -> float:
        """User and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self) -> None:
        """SIGTERM: a clean end."""
        self.process.terminate()
        try:
            self.process.wait(120)
        finally:
            self.process.kill()
            self.process.wait()
            self.said.close()


def client(broker: Broker, arguments: list[str], job: Job) -> dict[str, Any]:
    """Runs the Java client. It asks for the broker's CPU (a line "cpu") when its measured part begins and ends."""
    flush = settings.FLUSH[job.durability if job.kind != "topics" else "each"]
    more = [f"warm={settings.WARM_SECONDS}", *(f"flush={key}={value}" for key, value in flush.items())]
    java = ["java", *settings.CLIENT_JVM, *settings.QUIET, "-cp", CLASSES, "Driver"]
    command = [*java, f"port={broker.port}", f"settings={HERE}", *arguments, *more]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    cpu: list[float] = []
    result: dict[str, Any] = {}
    for line in process.stdout:
        if line.strip() == "cpu":
            cpu.append(broker.cpu_seconds())
        elif line.startswith("{"):
            result = json.loads(line)
    said = process.stderr.read()
    if process.wait() or not result:
        raise SystemExit(f"the client ended with {process.returncode}: {said[-2000:]}")
    result["cpu_seconds"] += cpu[-1] - cpu[0]
    result["peak_rss"] += broker.peak_rss()
    return result


def main() -> None:
    """As every driver; reopening counts from the broker's start to the client's last answer."""
    job = Job.parse(sys.argv[1:])
    broker = Broker(job)
    try:
        result = client(broker, sys.argv[1:], job)
        if job.kind == "reopen":
            result["seconds"] = result["open_seconds"] = time.perf_counter() - broker.began
        if job.end == "wait":
            print(json.dumps(result), flush=True)
            broker.process.wait()  # until the harness kills all of us
        broker.stop()
        print(json.dumps(result), flush=True)
    finally:
        broker.process.kill()


if __name__ == "__main__":
    main()
