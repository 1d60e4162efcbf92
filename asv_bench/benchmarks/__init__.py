"""Benchmarks for asv, from commit to commit, one class for each axis; docs/performance.md says how to run and record
them.

Each reports what a round of calls costs; `make compare` is for rates beside rivals and the machine's limits, `make
gate` for counts that do not hang on the machine. Logs lie in the directory that asv runs a benchmark in. Entries of a
round and bytes of an entry stand in each module, for those who want ns an entry.
"""
