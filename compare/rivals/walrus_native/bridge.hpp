// The loops of rivals/driver.hpp over the engine's functions; bridge.pyx fills in Engine.
#pragma once

#include "../driver.hpp"

struct Engine {
    void *(*open)(const char *directory, const char *durability, long long retention, int topics);
    void *(*topic)(void *log, int number);
    int (*append)(void *log, void *topic, const unsigned char *data, unsigned long long length);
    int (*append_batch)(void *log, void *topic, const unsigned char **data, const unsigned long long *lengths,
                        unsigned count);
    int (*sync)(void *log);
    void (*close)();
};

inline Engine engine;

struct NativeStore {
    void *log;
    std::vector<void *> topics;
    bool each, flight;

    explicit NativeStore(const Job &job) : each(job.durability == "each"), flight(job.mode == "flight") {
        log = engine.open(job.dir.c_str(), job.durability.c_str(), job.retention, job.topics);
        if (log == nullptr) fail("the log was not opened");
        for (int number = 0; number < job.topics; number++) topics.push_back(engine.topic(log, number));
    }

    static void check(int code) {
        if (code != 0) fail("the engine gave " + std::to_string(code));
    }

    static const unsigned char *bytes(Slice data) { return reinterpret_cast<const unsigned char *>(data.data); }

    void append(int topic, Slice data) {
        check(engine.append(log, topics[static_cast<size_t>(topic)], bytes(data), data.size));
        if (each) sync();
    }

    void append_batch(int topic, const Slice *entries, size_t count) {
        void *const target = topics[static_cast<size_t>(topic)];
        if (flight) {
            for (size_t at = 0; at < count; at++)
                check(engine.append(log, target, bytes(entries[at]), entries[at].size));
            return sync();
        }
        thread_local std::vector<const unsigned char *> data;
        thread_local std::vector<unsigned long long> lengths;
        data.resize(count);
        lengths.resize(count);
        for (size_t at = 0; at < count; at++) {
            data[at] = bytes(entries[at]);
            lengths[at] = entries[at].size;
        }
        check(engine.append_batch(log, target, data.data(), lengths.data(), static_cast<unsigned>(count)));
        if (each) sync();
    }

    void sync() { check(engine.sync(log)); }
    void close() { engine.close(); }
};

inline int native_main(const std::vector<std::string> &words) {
    Job job;
    for (const auto &word : words) job.take(word);
    return job.kind == "topics" ? drive_topics<NativeStore>(job) : drive_append<NativeStore>(job);
}
