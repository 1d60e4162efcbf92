/* What memory and one core give a log: copy the payload into memory that is resident, checksum it with CRC32C.
 * The target is a ring of 64 MiB, as large as the staging of Walrus; larger than the caches of most CPUs. */
#define RING_BYTES (64u << 20)
/* A log keeps at least a length and a checksum for each entry. */
#define HEADER_BYTES 8u
