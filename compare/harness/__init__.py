"""The harness of ``make compare``: builds rivals, runs workloads interleaved on one disk, writes results, table and
plots."""
