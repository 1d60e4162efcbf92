// RocksDB as a store: a key for each entry, a WriteBatch for each batch.
#include "settings.hpp"

#include "../driver.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>

#include <rocksdb/db.h>
#include <rocksdb/version.h>

inline void check(const rocksdb::Status &status) {
    if (!status.ok()) fail(status.ToString());
}

struct RocksStore {
    rocksdb::DB *db = nullptr;
    rocksdb::WriteOptions write;
    std::vector<uint64_t> ends;
    std::thread syncer;
    std::mutex lock;
    std::condition_variable ended;
    bool ending = false;

    explicit RocksStore(const Job &job) : ends(static_cast<size_t>(job.topics)) {
        check(rocksdb::DB::Open(settings(job.retention), job.dir, &db));
        write.sync = job.durability == "each";
        if (job.durability == "interval") syncer = std::thread([this] { sync_now_and_then(); });
    }

    void sync_now_and_then() {
        std::unique_lock<std::mutex> held(lock);
        while (!ended.wait_for(held, std::chrono::milliseconds(INTERVAL_MS), [this] { return ending; }))
            check(db->SyncWAL());
    }

    static void key_of(int topic, uint64_t number, char *key) {
        for (int at = 0; at < 4; at++) key[at] = static_cast<char>(topic >> (24 - 8 * at));
        for (int at = 0; at < 8; at++) key[4 + at] = static_cast<char>(number >> (56 - 8 * at));
    }

    void append(int topic, Slice data) {
        char key[12];
        key_of(topic, __atomic_fetch_add(&ends[static_cast<size_t>(topic)], 1, __ATOMIC_RELAXED), key);
        check(db->Put(write, rocksdb::Slice(key, sizeof key), rocksdb::Slice(data.data, data.size)));
    }

    void append_batch(int topic, const Slice *entries, size_t count) {
        rocksdb::WriteBatch batch;
        const uint64_t first = __atomic_fetch_add(&ends[static_cast<size_t>(topic)], count, __ATOMIC_RELAXED);
        char key[12];
        for (size_t at = 0; at < count; at++) {
            key_of(topic, first + at, key);
            batch.Put(rocksdb::Slice(key, sizeof key), rocksdb::Slice(entries[at].data, entries[at].size));
        }
        check(db->Write(write, &batch));
    }

    void sync() { check(db->SyncWAL()); }

    // Copies nothing: an entry is valid until the iterator moves.
    template <class Visit>
    void batches(int topic, Visit visit) {
        char from[12], to[12];
        key_of(topic, 0, from);
        key_of(topic + 1, 0, to);
        const rocksdb::Slice upper(to, sizeof to);
        auto options = read_settings();
        options.iterate_upper_bound = &upper;
        const std::unique_ptr<rocksdb::Iterator> iterator(db->NewIterator(options));
        for (iterator->Seek(rocksdb::Slice(from, sizeof from)); iterator->Valid(); iterator->Next())
            visit(1, static_cast<int64_t>(iterator->value().size()));
        check(iterator->status());
    }

    int64_t first(int topic) {
        char from[12];
        key_of(topic, 0, from);
        const std::unique_ptr<rocksdb::Iterator> iterator(db->NewIterator(read_settings()));
        iterator->Seek(rocksdb::Slice(from, sizeof from));
        if (!iterator->Valid()) fail("a topic is empty");
        return static_cast<int64_t>(iterator->value().size());
    }

    // A clean end leaves no memtable to be replayed out of the WAL: the next opening is faster, and cold reading is of
    // files.
    void close() {
        check(db->Flush(rocksdb::FlushOptions()));
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
    if (job.kind == "topics") return drive_topics<RocksStore>(job);
    if (job.kind == "read") return drive_read<RocksStore>(job);
    if (job.kind == "reopen") return drive_reopen<RocksStore>(job);
    return drive_append<RocksStore>(job);
}
