"""ISA-L: the one function of it that is used. Extern only.

Layer: declarations. Any thread, no GIL. With WALRUS_NO_ISAL (setup.py: the library was not found) nothing of it is named, and
WALRUS_ISAL is 0. ISA-L's crc32_iscsi works on the raw register: the caller inverts before and after to get the standard CRC32C.
"""

cdef extern from *:
    """
    #if defined(__x86_64__) && !defined(WALRUS_NO_ISAL)
    #include <isa-l/crc.h>
    #define WALRUS_ISAL 1
    #else
    #define WALRUS_ISAL 0
    static inline unsigned int crc32_iscsi(unsigned char *buffer, int length, unsigned int state) {
        (void)buffer; (void)length; return state;   /* never called: WALRUS_ISAL is 0 */
    }
    #endif
    """
    const int WALRUS_ISAL
    unsigned int crc32_iscsi(unsigned char *buffer, int length, unsigned int state) noexcept nogil
