// RocksDB's write-ahead log alone: each entry is a PutLogData, which reaches the WAL and no memtable. The least that
// RocksDB can do
// for an append: no key, no topic, nothing to read it by but a scan of the whole WAL.
#pragma once

#include <rocksdb/options.h>

constexpr int INTERVAL_MS = 200;
// A WAL file ends when a memtable is flushed; PutLogData fills none, so that one key is put and flushed after so many
// bytes. The
// files before it are then deleted, or recycled.
constexpr int64_t WAL_FILE_BYTES = 256 << 20;

inline rocksdb::Options settings() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.IncreaseParallelism(2);
    options.enable_pipelined_write = true;
    // Wiki, "WAL Performance": overwriting recycled files saves the metadata of each flush. This version turns it off
    // in all modes
    // of recovery but this one.
    options.recycle_log_file_num = 4;
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
    options.wal_bytes_per_sync = 1 << 20;
    // As in the store: appends must outlive a killed process.
    options.manual_wal_flush = false;
    return options;
}
