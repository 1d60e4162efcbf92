// RocksDB as a store of entries: key = topic and number, value = payload. What its own documentation advises for data
// that comes
// in order, is read in order and is deleted by age, on few cores.
#pragma once

#include <rocksdb/options.h>
#include <rocksdb/table.h>

constexpr int INTERVAL_MS = 200;

inline rocksdb::Options settings(int64_t retention_bytes) {
    rocksdb::Options options;
    options.create_if_missing = true;
    // Tuning guide: one thread for each core between flushes and compactions.
    options.IncreaseParallelism(2);
    // Tuning guide, write-heavy: larger memtables, so that files are larger and writers stall less.
    options.write_buffer_size = 128 << 20;
    options.max_write_buffer_number = 4;
    options.min_write_buffer_number_to_merge = 1;
    // Wiki, "Pipelined Write": WAL and memtable of different writers overlap.
    options.enable_pipelined_write = true;
    // Payloads are random bytes: compressing them would cost CPU and save nothing.
    options.compression = rocksdb::kNoCompression;
    // Wiki, "IO": written pages are handed to the disk as they come, and not in one burst.
    options.bytes_per_sync = 1 << 20;
    options.wal_bytes_per_sync = 1 << 20;
    // Wiki, "FIFO compaction style": for logs; nothing is rewritten, the oldest file goes. Without retention nothing
    // goes.
    options.compaction_style = rocksdb::kCompactionStyleFIFO;
    options.compaction_options_fifo.max_table_files_size =
        retention_bytes > 0 ? static_cast<uint64_t>(retention_bytes) : uint64_t{1} << 50;
    options.max_open_files = -1;
    // FIFO keeps all files in level 0: writers must not be held up by their number.
    options.level0_slowdown_writes_trigger = 1 << 20;
    options.level0_stop_writes_trigger = 1 << 20;
    // manual_wal_flush would be faster, but would keep appends in the process: SIGKILL would lose them, which a log may
    // not.
    options.manual_wal_flush = false;
    return options;
}

inline rocksdb::ReadOptions read_settings() {
    rocksdb::ReadOptions options;
    // Wiki, "Iterator": reading ahead for long scans; the blocks are read once, so that they do not go through the
    // block cache.
    options.readahead_size = 2 << 20;
    options.fill_cache = false;
    return options;
}
