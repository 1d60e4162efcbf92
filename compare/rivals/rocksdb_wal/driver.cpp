// RocksDB's bare WAL by PutLogData, with SyncWAL for an interval and WriteOptions::sync for each append.
#include "settings.hpp"

#include "../driver.hpp"

#include <condition_variable>
#include <mutex>

#include <rocksdb/db.h>
#include <rocksdb/version.h>

inline void check(const rocksdb::Status &status) {
    if (!status.ok()) fail(status.ToString());
}

struct RocksWal {
    rocksdb::DB *db = nullptr;
    rocksdb::WriteOptions write;
    bool recycles;
    std::atomic<int64_t> written{0}, borders{0};
    std::thread syncer;
    std::mutex lock;
    std::condition_variable ended;
    bool ending = false;

    explicit RocksWal(const Job &job) : recycles(job.retention > 0) {
        check(rocksdb::DB::Open(settings(), job.dir, &db));
        write.sync = job.durability == "each";
        if (job.durability == "interval") syncer = std::thread([this] { sync_now_and_then(); });
    }

    void sync_now_and_then() {
        std::unique_lock<std::mutex> held(lock);
        while (!ended.wait_for(held, std::chrono::milliseconds(INTERVAL_MS), [this] { return ending; }))
            check(db->SyncWAL());
    }

    void end_of_file(int64_t more) {
        const int64_t before = written.fetch_add(more, std::memory_order_relaxed);
        if (!recycles || before / WAL_FILE_BYTES == (before + more) / WAL_FILE_BYTES) return;
        check(db->Put(write, "border", std::to_string(borders++)));
        rocksdb::FlushOptions options;
        options.wait = false;
        check(db->Flush(options));
    }

    void append(int, Slice data) {
        thread_local rocksdb::WriteBatch batch;
        batch.Clear();
        check(batch.PutLogData(rocksdb::Slice(data.data, data.size)));
        check(db->Write(write, &batch));
        end_of_file(static_cast<int64_t>(data.size));
    }

    void append_batch(int, const Slice *entries, size_t count) {
        thread_local rocksdb::WriteBatch batch;
        batch.Clear();
        int64_t size = 0;
        for (size_t at = 0; at < count; at++) {
            check(batch.PutLogData(rocksdb::Slice(entries[at].data, entries[at].size)));
            size += static_cast<int64_t>(entries[at].size);
        }
        check(db->Write(write, &batch));
        end_of_file(size);
    }

    void sync() { check(db->SyncWAL()); }

    void close() {
        if (syncer.joinable()) {
            {
                const std::lock_guard<std::mutex> held(lock);
                ending = true;
            }
            ended.notify_all();
            syncer.join();
        }
        check(db->Close());
        delete db;
    }
};

int main(int count, char **words) {
    if (count == 2 && std::string(words[1]) == "--version")
        return printf("%s\n", rocksdb::GetRocksVersionAsString().c_str()), 0;
    const Job job = Job::parse(count, words);
    if (job.kind == "topics") return drive_topics<RocksWal>(job);
    return drive_append<RocksWal>(job);
}
