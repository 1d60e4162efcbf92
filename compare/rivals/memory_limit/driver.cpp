// The limit of the memory: memcpy and CRC32C of each entry into a resident ring. No thread but the appending ones, no
// disk.
#include "settings.h"

#include "../driver.hpp"

#include <nmmintrin.h>
#include <sys/mman.h>

struct Ring {
    char *memory;
    uint64_t position = 0;

    Ring() {
        memory = static_cast<char *>(
            mmap(nullptr, RING_BYTES, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0));
        if (memory == MAP_FAILED) fail("mmap of the ring");
    }

    void append(Slice data) {
        if (position + data.size + HEADER_BYTES > RING_BYTES) position = 0;
        char *at = memory + position;
        memcpy(at + HEADER_BYTES, data.data, data.size);
        uint64_t crc = ~0u;
        size_t done = 0;
        for (; done + 8 <= data.size; done += 8) {
            uint64_t word;
            memcpy(&word, data.data + done, 8);
            crc = _mm_crc32_u64(crc, word);
        }
        for (; done < data.size; done++)
            crc = _mm_crc32_u8(static_cast<uint32_t>(crc), static_cast<uint8_t>(data.data[done]));
        const uint32_t header[2] = {static_cast<uint32_t>(data.size), static_cast<uint32_t>(crc)};
        memcpy(at, header, HEADER_BYTES);
        position += (data.size + HEADER_BYTES + 7) & ~uint64_t{7};
    }
};

struct MemoryLimit {
    std::vector<Ring> rings;

    explicit MemoryLimit(const Job &job) : rings(static_cast<size_t>(job.topics)) {}
    void append(int topic, Slice data) { rings[static_cast<size_t>(topic)].append(data); }
    void append_batch(int topic, const Slice *entries, size_t count) {
        for (size_t at = 0; at < count; at++) append(topic, entries[at]);
    }
    void sync() {}
    void close() {}
};

int main(int count, char **words) { return drive_append<MemoryLimit>(Job::parse(count, words)); }
