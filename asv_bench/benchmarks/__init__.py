"""Benchmarks for asv, from commit to commit: ``cd asv_bench && asv run`` (or ``asv run --environment existing:<python>``).

Each reports what a call costs; `walrus bench` is for whole figures beside the limits of the machine. Logs lie in the directory
that asv runs a benchmark in.
"""
