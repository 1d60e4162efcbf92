"""fio: what the disk itself gives, for the patterns that a log can hope for."""

COMMON = ["--name=limit", "--direct=1", "--output-format=json", "--thread", "--group_reporting"]
# Sequential O_DIRECT blocks of 1 MiB, 8 in flight, over a file that was written before (as recycled log files are).
SEQUENTIAL = ["--bs=1M", "--ioengine=io_uring", "--iodepth=8"]
SEQUENTIAL_FALLBACK = ["--bs=1M", "--ioengine=libaio", "--iodepth=8"]
SEQUENTIAL_FILE_BYTES = 1 << 30
# One 4 KiB write after another over a file that was written before, an fdatasync after each.
FLUSHED = ["--rw=write", "--bs=4k", "--ioengine=psync", "--fdatasync=1"]
FLUSHED_FILE_BYTES = 64 << 20
