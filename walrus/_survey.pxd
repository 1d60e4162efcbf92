"""Survey: what lies in the directory, which boot this is, and numbers that nobody guesses.

Layer: the log. Opening alone; one thread.
"""
from walrus._libc cimport uint8_t, uint32_t, uint64_t
from walrus._log_state cimport Log

ctypedef struct Survey:
    uint64_t *names                 # NNN of every log-NNN, ascending
    uint64_t count
    uint64_t room
    uint32_t slots                  # bit per catalog slot
    uint32_t journals               # bit per journal file
    bint staging
    bint control

# 0, -ENOMEM or another negative errno.
cdef int survey_directory(Log *log, Survey *survey) noexcept nogil
cdef void survey_free(Survey *survey) noexcept nogil
# 16 bytes; zeros where the machine does not say.
cdef void boot_id_read(uint8_t *boot_id) noexcept nogil
cdef bint all_zero(const uint8_t *memory, uint64_t bytes) noexcept nogil
# 0 or a negative errno.
cdef int random_bytes(uint8_t *target, uint64_t bytes) noexcept nogil
