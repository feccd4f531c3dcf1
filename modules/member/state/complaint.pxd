# cython: language_level=3
"""What is kept of something that fails again and again."""

from libc.stdint cimport int64_t

cdef enum:
    ERROR_BYTES = 256


cdef struct Complaint:
    # What was logged last of something that may fail again and again (`complaints.pxi`).
    char why[ERROR_BYTES]
    int64_t said_ms
    int64_t since_ms            # `reasons` counts from then on
    int reasons
    unsigned long long unsaid   # failures since the last line
