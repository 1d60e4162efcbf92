"""Says on a terminal how far long work is. Silent where stderr is no terminal or tqdm is not installed: neither is ever needed.

Threads: one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]


@contextmanager
def progress(total: int | None, unit: str, label: str = "") -> Iterator[Callable[[int], object]]:
    """Gives a function that takes how much was done since its last call; `total` is None where nobody knows."""
    try:
        bars = importlib.import_module("tqdm") if sys.stderr.isatty() else None
    except ImportError:
        bars = None
    if bars is None:
        yield lambda done: None
        return
    with bars.tqdm(total=total, unit=unit, desc=label or None, unit_scale=True, mininterval=0.2, leave=False) as bar:
        yield bar.update
