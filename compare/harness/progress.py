"""One line that says how far it is; on a terminal it is rewritten, else each finished run has a line."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]


class Progress:
    """Counts runs against the plan; knows the remaining time from what was expected and what it took."""

    def __init__(self, runs: int, expected: float) -> None:
        self.runs, self.expected = runs, expected
        self.done = 0
        self.done_expected = 0.0
        self.began = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.label = ""
        self.started = self.began

    def _remaining(self) -> str:
        took = time.monotonic() - self.began
        pace = took / self.done_expected if self.done_expected > 0 else 1.0
        seconds = max(0.0, (self.expected - self.done_expected) * pace)
        return f"{int(seconds // 60)}:{int(seconds % 60):02} left"

    def start(self, label: str) -> None:
        """A run begins."""
        self.label, self.started = label, time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Now and then, while it runs."""
        if self.terminal:
            took = time.monotonic() - self.started
            line = f"[{self.done + 1}/{self.runs}] {self.label} {took:.0f} s, {self._remaining()}"
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)

    def end(self, said: str, expected: float) -> None:
        """It has ended; `said` is its figure or its failure."""
        self.done += 1
        self.done_expected += expected
        start = "\r\033[K" if self.terminal else ""
        print(
            f"{start}[{self.done}/{self.runs}] {self.label}: {said} ({self._remaining()})", file=sys.stderr, flush=True
        )
