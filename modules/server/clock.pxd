# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The clocks of this project."""

from libc.stdint cimport int64_t

from modules.bindings.libc cimport CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime, timespec


cdef inline int64_t boot_ms() noexcept nogil:
    """Returns milliseconds since boot, with the time suspended (design.md, "Leases")."""
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline int64_t monotonic_us() noexcept nogil:
    """Returns microseconds of a clock without jumps, for durations within a pass."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000
