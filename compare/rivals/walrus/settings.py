"""Walrus for Python, as it comes: no option but those of the workload (schedule, retention, consistency)."""

from typing import Any

# Nothing is tuned. Staging 64 MiB, log files growing to 256 MiB, io_uring with O_DIRECT where the machine has them.
OPTIONS: dict[str, Any] = {}
INTERVAL_MS = 200
PERSIST_EVERY = 1000
