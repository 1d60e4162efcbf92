"""CRC32C (Castagnoli): inline for short data, ISA-L for long, a table where neither is to be had.

All ways compute the same function: reflected polynomial 0x82F63B78, register inverted before and after; the check value of the
nine bytes "123456789" is 0xE3069283. It chains: crc32c(crc32c(0, a), b) == crc32c(0, a + b).

  up to LONG_BYTES    a loop over the CRC instruction (SSE4.2, ARMv8): no call, no set-up. It is bound by the instruction's
                      latency of three cycles, so a copy comes with it at no cost (crc32c_copy, up to COPY_LONG_BYTES).
  from LONG_BYTES on  ISA-L, which folds with carry-less multiplication; without ISA-L three independent streams of the CRC
                      instruction, joined by a table that advances a register over STREAM_BYTES zero bytes.
  otherwise           eight tables of 256 words.

What the machine can do is looked up once, when the module is loaded: a wheel runs on every CPU of its architecture.

Threads: pure functions, any thread, no GIL. Tables are filled at load time and never written again.
"""
from walrus._isal cimport WALRUS_ISAL, crc32_iscsi


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the format of the log is little-endian, and so is this code"
    #endif

    #define LONG_BYTES 256              /* ISA-L wins from here on: measured */
    #define COPY_LONG_BYTES 384         /* with a copy, from here on: it must wait for the stores of an uneven memcpy */
    #define STREAM_BYTES 256            /* of each of the three streams */
    #define WINDOW_BYTES 16384          /* copy, then checksum: while it is still in the first-level cache */
    #define ISAL_BYTES_MAX 0x40000000   /* its length is an int */

    #if defined(__x86_64__)
    #include <nmmintrin.h>
    #define CRC_INSTRUCTION 1
    #define CRC_TARGET __attribute__((target("sse4.2")))
    #define crc_step8(state, value) _mm_crc32_u64((state), (value))
    #define crc_step4(state, value) _mm_crc32_u32((uint32_t)(state), (value))
    #define crc_step2(state, value) _mm_crc32_u16((uint32_t)(state), (value))
    #define crc_step1(state, value) _mm_crc32_u8((uint32_t)(state), (value))
    #define CRC_NAME "sse4.2"
    #elif defined(__aarch64__)
    #include <sys/auxv.h>
    #define CRC_INSTRUCTION 1
    #define CRC_TARGET
    #define CRC_ARM_STEP(name, type, text) static inline uint32_t name(uint64_t state, type value) { \\
        uint32_t s = (uint32_t)state; __asm__(".arch_extension crc\\n\\t" text : "+r"(s) : "r"(value)); return s; }
    CRC_ARM_STEP(crc_step8, uint64_t, "crc32cx %w0, %w0, %x1")
    CRC_ARM_STEP(crc_step4, uint32_t, "crc32cw %w0, %w0, %w1")
    CRC_ARM_STEP(crc_step2, uint32_t, "crc32ch %w0, %w0, %w1")
    CRC_ARM_STEP(crc_step1, uint32_t, "crc32cb %w0, %w0, %w1")
    #define CRC_NAME "armv8"
    #else
    #define CRC_INSTRUCTION 0
    #define CRC_NAME "none"
    #endif

    #define CRC_READ(type, name, at) type name; memcpy(&name, (at), sizeof(type))

    static int crc_fast;                            /* the CRC instruction is in use */
    static int crc_vectors;                         /* the CPU has AVX */
    static uint32_t crc_table[8][256];
    static uint32_t crc_zeros[4][256];              /* a register after STREAM_BYTES zero bytes, by its bytes */

    static uint32_t crc_portable(uint32_t crc, const uint8_t *at, uint64_t length) {
        uint32_t state = ~crc;
        for (; length >= 8; length -= 8, at += 8) {
            CRC_READ(uint32_t, low, at);
            CRC_READ(uint32_t, high, at + 4);
            low ^= state;
            state = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^
                    crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^
                    crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
        }
        for (; length; length--, at++)
            state = state >> 8 ^ crc_table[0][(state ^ *at) & 255];
        return ~state;
    }

    static int crc_machine(void) {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        return __builtin_cpu_supports("sse4.2") != 0;
    #elif defined(__aarch64__)
        return (getauxval(AT_HWCAP) & (1u << 7)) != 0;       /* HWCAP_CRC32 */
    #else
        return 0;
    #endif
    }

    __attribute__((constructor)) static void crc_prepare(void) {
        static const uint8_t zeros[STREAM_BYTES];
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t state = i;
            for (int bit = 0; bit < 8; bit++)
                state = state >> 1 ^ (state & 1 ? 0x82F63B78u : 0);
            crc_table[0][i] = state;
        }
        for (int t = 1; t < 8; t++)
            for (uint32_t i = 0; i < 256; i++)
                crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
        for (int byte = 0; byte < 4; byte++)
            for (uint32_t i = 1; i < 256; i++) {
                uint32_t lowest = i & -i;               /* the operator is linear: a sum of single bits */
                crc_zeros[byte][i] = i == lowest ? ~crc_portable(~(i << 8 * byte), zeros, STREAM_BYTES)
                                                 : crc_zeros[byte][lowest] ^ crc_zeros[byte][i ^ lowest];
            }
        crc_fast = crc_machine();
    #if defined(__x86_64__)
        crc_vectors = __builtin_cpu_supports("avx") != 0;
    #endif
    }

    #if CRC_INSTRUCTION
    /* The odd bytes first: a header's part behind its checksum is then read in the words it was stored in. */
    CRC_TARGET static uint32_t crc_short(uint32_t crc, const uint8_t *at, uint64_t length) {
        uint64_t state = (uint32_t)~crc;
        if (length & 1) { state = crc_step1(state, *at); at += 1; }
        if (length & 2) { CRC_READ(uint16_t, value, at); state = crc_step2(state, value); at += 2; }
        if (length & 4) { CRC_READ(uint32_t, value, at); state = crc_step4(state, value); at += 4; }
        for (length >>= 3; length; length--, at += 8) { CRC_READ(uint64_t, value, at); state = crc_step8(state, value); }
        return ~(uint32_t)state;
    }

    CRC_TARGET static uint32_t crc_copy_short(uint32_t crc, uint8_t *to, const uint8_t *at, uint64_t length) {
        uint64_t state = (uint32_t)~crc;
        for (; length >= 8; length -= 8, at += 8, to += 8) {
            CRC_READ(uint64_t, value, at); memcpy(to, &value, 8); state = crc_step8(state, value);
        }
        if (length & 4) {
            CRC_READ(uint32_t, value, at); memcpy(to, &value, 4); state = crc_step4(state, value); at += 4; to += 4;
        }
        if (length & 2) {
            CRC_READ(uint16_t, value, at); memcpy(to, &value, 2); state = crc_step2(state, value); at += 2; to += 2;
        }
        if (length & 1) { uint8_t value = *at; *to = value; state = crc_step1(state, value); }
        return ~(uint32_t)state;
    }

    static inline uint32_t crc_advance(uint32_t state) {
        return crc_zeros[0][state & 255] ^ crc_zeros[1][state >> 8 & 255] ^ crc_zeros[2][state >> 16 & 255] ^
               crc_zeros[3][state >> 24];
    }

    CRC_TARGET static uint32_t crc_streams(uint32_t crc, const uint8_t *at, uint64_t length) {
        uint64_t a = (uint32_t)~crc, b, c;
        for (; length >= 3 * STREAM_BYTES; length -= 3 * STREAM_BYTES, at += 3 * STREAM_BYTES) {
            b = c = 0;
            for (int i = 0; i < STREAM_BYTES; i += 8) {
                CRC_READ(uint64_t, x, at + i);
                CRC_READ(uint64_t, y, at + i + STREAM_BYTES);
                CRC_READ(uint64_t, z, at + i + 2 * STREAM_BYTES);
                a = crc_step8(a, x); b = crc_step8(b, y); c = crc_step8(c, z);
            }
            a = crc_advance(crc_advance((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
        }
        return crc_short(~(uint32_t)a, at, length);
    }
    #else
    #define crc_short crc_portable
    #define crc_streams crc_portable
    static uint32_t crc_copy_short(uint32_t crc, uint8_t *to, const uint8_t *at, uint64_t length) {
        memcpy(to, at, length);
        return crc_portable(crc, to, length);
    }
    #endif

    /* ISA-L returns with the upper halves of the vector registers in use; SSE code that runs next, ours or the interpreter's,
       then waits for them: 120 ns for reading a frame of 256 bytes instead of 10. */
    static inline void crc_vectors_done(void) {
    #if defined(__x86_64__)
        if (crc_vectors) __asm__ __volatile__("vzeroupper" ::: "memory");
    #endif
    }

    static inline int crc_likely(int x) { return __builtin_expect(x, 1); }
    """
    int crc_fast
    const int LONG_BYTES, COPY_LONG_BYTES, WINDOW_BYTES, ISAL_BYTES_MAX
    const char *CRC_NAME
    int crc_machine() noexcept nogil
    void crc_vectors_done() noexcept nogil
    bint crc_likely(bint x) noexcept nogil
    uint32_t crc_portable(uint32_t crc, const uint8_t *at, uint64_t length) noexcept nogil
    uint32_t crc_short(uint32_t crc, const uint8_t *at, uint64_t length) noexcept nogil
    uint32_t crc_copy_short(uint32_t crc, uint8_t *to, const uint8_t *at, uint64_t length) noexcept nogil
    uint32_t crc_streams(uint32_t crc, const uint8_t *at, uint64_t length) noexcept nogil

cdef extern from "string.h" nogil:
    void *memcpy(void *target, const void *source, size_t count)


cdef uint32_t crc_long(uint32_t crc, const uint8_t *at, uint64_t length) noexcept nogil:
    cdef uint64_t part
    if not crc_fast:
        return crc_portable(crc, at, length)
    if not WALRUS_ISAL:
        return crc_streams(crc, at, length)
    while length:
        part = length if length < <uint64_t>ISAL_BYTES_MAX else <uint64_t>ISAL_BYTES_MAX
        crc = ~crc32_iscsi(<unsigned char *>at, <int>part, ~crc)
        at += part
        length -= part
    crc_vectors_done()
    return crc


cdef uint32_t crc_copy_long(uint32_t crc, uint8_t *to, const uint8_t *at, uint64_t length) noexcept nogil:
    """The checksum is of the copy: what a caller's other thread does to the source meanwhile cannot make the two differ."""
    cdef uint64_t part
    while length:
        part = length if length < <uint64_t>WINDOW_BYTES else <uint64_t>WINDOW_BYTES
        memcpy(to, at, part)
        crc = crc_long(crc, to, part)
        to += part
        at += part
        length -= part
    return crc


cdef uint32_t crc32c(uint32_t crc, const void *data, uint64_t length) noexcept nogil:
    if crc_likely(crc_fast and length < <uint64_t>LONG_BYTES):
        return crc_short(crc, <const uint8_t *>data, length)
    return crc_long(crc, <const uint8_t *>data, length)


cdef uint32_t crc32c_copy(uint32_t crc, void *target, const void *source, uint64_t length) noexcept nogil:
    if crc_likely(crc_fast and length < <uint64_t>COPY_LONG_BYTES):
        return crc_copy_short(crc, <uint8_t *>target, <const uint8_t *>source, length)
    return crc_copy_long(crc, <uint8_t *>target, <const uint8_t *>source, length)


cdef const char *crc32c_implementation() noexcept nogil:
    if not crc_fast:
        return b"table"
    if WALRUS_ISAL:
        return b"isa-l+sse4.2"
    return CRC_NAME


cdef void crc32c_force_portable(bint on) noexcept nogil:
    global crc_fast
    crc_fast = 0 if on else crc_machine()
