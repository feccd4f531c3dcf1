# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state that limits log lines about a failure that repeats."""

from libc.stdint cimport int64_t

cdef enum:
    ERROR_BYTES = 256


cdef struct Complaint:
    # The last line that was logged about a failure that may repeat (`complaints.pxi`).
    char why[ERROR_BYTES]
    int64_t said_ms
    int64_t since_ms            # since when `reasons` counts
    int reasons
    unsigned long long unsaid   # failures since the last line, which were not logged
