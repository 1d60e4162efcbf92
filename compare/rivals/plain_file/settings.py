"""A plain file for each topic, as one would write it by hand: a length and a CRC before each entry, O_APPEND, no buffer
in the
process, so that what was appended outlives a killed process as it does in a log."""

INTERVAL_MS = 200
# Preallocating in steps keeps the file's size from changing with each synced append: fdatasync then writes no metadata.
PREALLOCATE_BYTES = 64 << 20  # of all files together
PREALLOCATE_BYTES_LEAST = 256 << 10  # of each; an entry with its header, or a batch, goes in over several steps
