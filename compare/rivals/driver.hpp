// The measuring loops for rivals that C++ calls: the same arguments, loops and line of JSON as rivals/job.py and
// rivals/driver.py.
//
// A rival is a class with a constructor from Job, append(topic, Slice), append_batch(topic, const Slice *, count),
// sync(), close();
// to be read also batches(topic, visit), first(topic). Times are seconds, latencies nanoseconds, sizes bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

[[noreturn]] inline void fail(const std::string &what) {
    fprintf(stderr, "%s\n", what.c_str());
    exit(1);
}

struct Slice {
    const char *data;
    size_t size;
};

struct Job {
    std::string kind, dir, durability = "none", mode, end = "close";
    int threads = 1, topics = 1, stride = 1, hot = 0;
    int64_t min = 100, max = 100, batch = 1, entries = 0, max_bytes = 0, retention = 0, call_bytes = 1 << 20;
    double seconds = 1.0;

    static Job parse(int count, char **words) {
        Job job;
        for (int at = 1; at < count; at++) job.take(words[at]);
        return job;
    }

    void take(const std::string &word) {
        const size_t equal = word.find('=');
        const std::string key = word.substr(0, equal), text = equal == std::string::npos ? "" : word.substr(equal + 1);
        for (auto [name, field] :
             {std::pair{"kind", &kind}, {"dir", &dir}, {"durability", &durability}, {"mode", &mode}, {"end", &end}})
            if (key == name) {
                *field = text;
                return;
            }
        for (auto [name, field] :
             {std::pair{"threads", &threads}, {"topics", &topics}, {"stride", &stride}, {"hot", &hot}})
            if (key == name) {
                *field = std::stoi(text);
                return;
            }
        for (auto [name, field] : {std::pair{"min", &min},
                                   {"max", &max},
                                   {"batch", &batch},
                                   {"entries", &entries},
                                   {"max_bytes", &max_bytes},
                                   {"retention", &retention},
                                   {"call_bytes", &call_bytes}})
            if (key == name) {
                *field = std::stoll(text);
                return;
            }
        if (key != "seconds") fail("a driver knows no argument " + key);
        seconds = std::stod(text);
    }
};

// The payloads, made beforehand, back to back in one buffer: taken in turn.
struct Pool {
    std::vector<char> bytes;
    std::vector<Slice> entries;

    explicit Pool(const Job &job) {
        std::mt19937_64 source(1768);
        const auto count = static_cast<size_t>(std::max<int64_t>(64, std::min<int64_t>(16000, (16 << 20) / job.max)));
        std::uniform_int_distribution<int64_t> sizes(job.min, job.max);
        std::vector<size_t> lengths(count);
        size_t total = 0;
        for (auto &length : lengths) total += length = static_cast<size_t>(sizes(source));
        bytes.resize(total + 8);
        for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
            const uint64_t word = source();
            memcpy(&bytes[at], &word, 8);
        }
        size_t at = 0;
        for (const size_t length : lengths) {
            entries.push_back({&bytes[at], length});
            at += length;
        }
    }

    std::vector<Slice> shifted(int topic) const {
        const size_t shift = static_cast<size_t>(topic) * 1009 % entries.size();
        std::vector<Slice> moved(entries.begin() + static_cast<ptrdiff_t>(shift), entries.end());
        moved.insert(moved.end(), entries.begin(), entries.begin() + static_cast<ptrdiff_t>(shift));
        return moved;
    }
};

inline uint64_t now_ns() {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count());
}

inline double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// Latencies in buckets of 3 %.
struct Histogram {
    static constexpr int SUB_BITS = 5;
    std::vector<uint64_t> counts = std::vector<uint64_t>(64 << SUB_BITS);

    void add(uint64_t ns) {
        const int shift = 63 - __builtin_clzll(ns | 1) - SUB_BITS;
        counts[shift <= 0 ? ns : (static_cast<size_t>(shift) << SUB_BITS) + (ns >> shift)]++;
    }

    static uint64_t upper_end(size_t index) {
        const size_t shift = index >> SUB_BITS ? (index >> SUB_BITS) - 1 : 0;
        return shift == 0 ? index : ((index - (shift << SUB_BITS) + 1) << shift) - 1;
    }

    std::string json() const {
        uint64_t total = 0, seen = 0;
        for (const uint64_t count : counts) total += count;
        if (total == 0) return "{}";
        std::string text = "{\"samples\":" + std::to_string(total);
        const std::pair<const char *, double> wanted[] = {
            {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1.0}};
        size_t next = 0;
        for (size_t index = 0; index < counts.size(); index++) {
            seen += counts[index];
            for (; next < 5 && static_cast<double>(seen) >= wanted[next].second * static_cast<double>(total); next++)
                text += std::string(",\"") + wanted[next].first + "\":" + std::to_string(upper_end(index));
        }
        return text + "}";
    }
};

// The most memory that was resident since this was made, and what was before.
struct Memory {
    int64_t baseline;

    Memory() {
        std::ofstream("/proc/self/clear_refs") << 5;  // 5: the peak begins anew
        baseline = field("VmRSS");
    }

    static int64_t field(const std::string &name) {
        std::ifstream status("/proc/self/status");
        for (std::string line; std::getline(status, line);)
            if (line.rfind(name + ":", 0) == 0) return std::stoll(line.substr(name.size() + 1)) * 1024;
        return 0;
    }

    std::string json() const {
        return "\"peak_rss\":" + std::to_string(field("VmHWM")) + ",\"baseline_rss\":" + std::to_string(baseline);
    }
};

struct alignas(128) Counters {
    std::atomic<int64_t> entries{0}, payload{0};
    Histogram histogram;

    void count(int64_t more_entries, int64_t more_payload) {
        entries.store(entries.load(std::memory_order_relaxed) + more_entries, std::memory_order_relaxed);
        payload.store(payload.load(std::memory_order_relaxed) + more_payload, std::memory_order_relaxed);
    }
};

template <class Store>
void append_work(Store &store, const Job &job, const std::vector<Slice> &pool, int topic, int64_t share, Counters &mine,
                 std::atomic<bool> &stop) {
    const auto batch = static_cast<size_t>(job.batch);
    std::vector<Slice> ring = pool;
    while (ring.size() % batch != 0 || ring.size() < batch)
        ring.insert(ring.end(), pool.begin(),
                    pool.begin() + static_cast<ptrdiff_t>(std::min(pool.size(), batch - ring.size() % batch)));
    // One thread goes round all topics.
    const auto turns = static_cast<uint64_t>(job.threads == 1 ? job.topics : 1);
    uint64_t calls = 0;
    for (size_t at = 0; !stop.load(std::memory_order_relaxed);) {
        int64_t payload = 0;
        const int target = topic + static_cast<int>(calls % turns);
        const bool timed = calls++ % static_cast<uint64_t>(job.stride) == 0;
        const uint64_t began = timed ? now_ns() : 0;
        if (batch > 1) store.append_batch(target, &ring[at], batch);
        else store.append(target, ring[at]);
        if (timed) mine.histogram.add(now_ns() - began);
        for (size_t one = 0; one < batch; one++) payload += static_cast<int64_t>(ring[at + one].size);
        mine.count(static_cast<int64_t>(batch), payload);
        at = at + batch == ring.size() ? 0 : at + batch;
        if (share > 0 && mine.entries.load(std::memory_order_relaxed) >= share) return;
    }
}

template <class Store>
int drive_append(const Job &job) {
    const Pool pool(job);
    std::vector<Counters> counters(static_cast<size_t>(job.threads));
    std::vector<std::vector<Slice>> pools;
    for (int number = 0; number < job.threads; number++) pools.push_back(pool.shifted(number % job.topics));
    const Memory memory;
    Store store(job);
    std::atomic<bool> stop{false}, begin{false};
    std::atomic<int> running{job.threads};
    std::vector<std::thread> threads;
    const int64_t share = (job.entries + job.threads - 1) / job.threads;
    for (int number = 0; number < job.threads; number++)
        threads.emplace_back([&, number] {
            while (!begin.load(std::memory_order_acquire)) std::this_thread::yield();
            append_work(store, job, pools[static_cast<size_t>(number)], number % job.topics, share,
                        counters[static_cast<size_t>(number)], stop);
            running--;
        });
    const auto total = [&](auto field) {
        int64_t sum = 0;
        for (const auto &one : counters) sum += (one.*field).load(std::memory_order_relaxed);
        return sum;
    };
    const double cpu = cpu_seconds();
    const uint64_t began = now_ns();
    const auto elapsed = [&] { return static_cast<double>(now_ns() - began) / 1e9; };
    begin.store(true, std::memory_order_release);
    std::string series;
    for (int shown = 0; running > 0 && !stop;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        const double took = elapsed();
        if (took >= (shown + 1) * 0.5) {
            series +=
                (shown++ ? ",[" : "[") + std::to_string(took) + "," + std::to_string(total(&Counters::entries)) + "]";
        }
        const bool full = job.max_bytes > 0 && total(&Counters::payload) >= job.max_bytes;
        if (full || (job.entries == 0 && took >= job.seconds)) stop = true;
    }
    for (auto &thread : threads) thread.join();
    const double took = elapsed(), cpu_appending = cpu_seconds() - cpu;
    store.sync();
    Histogram all;
    for (const auto &one : counters)
        for (size_t index = 0; index < all.counts.size(); index++) all.counts[index] += one.histogram.counts[index];
    printf("{\"entries\":%" PRId64 ",\"bytes\":%" PRId64
           ",\"seconds\":%.6f,\"sync_seconds\":%.6f,\"cpu_seconds\":%.4f,"
           "\"cpu_seconds_with_sync\":%.4f,\"latency_ns\":%s,\"series\":[%s],%s}\n",
           total(&Counters::entries), total(&Counters::payload), took, elapsed() - took, cpu_appending,
           cpu_seconds() - cpu, all.json().c_str(), series.c_str(), memory.json().c_str());
    fflush(stdout);
    if (job.end == "wait")
        for (;;) pause();  // the harness sends SIGKILL
    store.close();
    return 0;
}

template <class Store>
int drive_topics(const Job &job) {
    const Pool pool(job);
    const Memory memory;
    Store store(job);
    std::vector<double> appending, syncing;
    double cpu = 0;
    uint64_t began = 0;
    for (size_t turn = 0; turn < 3 || static_cast<double>(now_ns() - began) < job.seconds * 1e9; turn++) {
        if (turn == 1) {
            cpu = cpu_seconds();
            began = now_ns();
        }  // the first makes the topics
        const uint64_t started = now_ns();
        for (int topic = 0; topic < job.topics; topic++)
            store.append(topic, pool.entries[(turn + static_cast<size_t>(topic)) % pool.entries.size()]);
        const uint64_t appended = now_ns();
        store.sync();
        const uint64_t ended = now_ns();
        if (turn == 0) continue;
        appending.push_back(static_cast<double>(appended - started) / 1e9);
        syncing.push_back(static_cast<double>(ended - appended) / 1e9);
    }
    const double took = static_cast<double>(now_ns() - began) / 1e9;
    std::sort(appending.begin(), appending.end());
    std::sort(syncing.begin(), syncing.end());
    const auto entries = static_cast<int64_t>(appending.size()) * job.topics;
    printf("{\"entries\":%" PRId64 ",\"bytes\":%" PRId64
           ",\"seconds\":%.6f,\"cpu_seconds\":%.4f,\"turns\":%zu,\"append_seconds_median\":%.9f,"
           "\"sync_seconds_median\":%.9f,%s}\n",
           entries, entries * job.max, took, cpu_seconds() - cpu, appending.size(), appending[appending.size() / 2],
           syncing[syncing.size() / 2], memory.json().c_str());
    store.close();
    return 0;
}

template <class Store>
int drive_read(const Job &job) {
    const Memory memory;
    uint64_t began = now_ns();
    Store store(job);
    const double opened = static_cast<double>(now_ns() - began) / 1e9;
    int64_t entries = 0, payload = 0;
    const auto visit = [&](int64_t count, int64_t size) {
        entries += count;
        payload += size;
    };
    if (job.hot) {
        store.batches(0, visit);
        entries = payload = 0;
    }
    const double cpu = cpu_seconds();
    began = now_ns();
    store.batches(0, visit);
    const double took = static_cast<double>(now_ns() - began) / 1e9;
    if (entries != job.entries)
        fail(std::to_string(entries) + " entries were read, " + std::to_string(job.entries) + " were appended");
    printf("{\"entries\":%" PRId64 ",\"bytes\":%" PRId64
           ",\"seconds\":%.6f,\"cpu_seconds\":%.4f,\"open_seconds\":%.6f,%s}\n",
           entries, payload, took, cpu_seconds() - cpu, opened, memory.json().c_str());
    store.close();
    return 0;
}

template <class Store>
int drive_reopen(const Job &job) {
    const Memory memory;
    const double cpu = cpu_seconds();
    const uint64_t began = now_ns();
    Store store(job);
    const double opened = static_cast<double>(now_ns() - began) / 1e9;
    int64_t payload = 0;
    for (int topic = 0; topic < job.topics; topic++) payload += store.first(topic);
    const double usable = static_cast<double>(now_ns() - began) / 1e9;
    printf("{\"entries\":%d,\"bytes\":%" PRId64 ",\"seconds\":%.6f,\"open_seconds\":%.6f,\"cpu_seconds\":%.4f,%s}\n",
           job.topics, payload, usable, opened, cpu_seconds() - cpu, memory.json().c_str());
    store.close();
    return 0;
}
