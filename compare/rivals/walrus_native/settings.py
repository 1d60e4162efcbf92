"""Walrus below its Python API: native threads that append and sync by the engine's own functions, without the GIL."""

from ..walrus.settings import INTERVAL_MS, OPTIONS

__all__ = ["INTERVAL_MS", "IN_FLIGHT", "OPTIONS"]

# Of each thread, where many durable appends are in flight: appended one by one, then all of them awaited by one sync.
IN_FLIGHT = 2048
