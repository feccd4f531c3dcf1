# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Atomic numbers that two threads share. Extern only.

`publish` orders all writes before it, and `observe` all reads after it: whoever observes a number also sees what was
written before that number was published. `fence` also orders a write before a later read.
"""

from libc.stdint cimport int64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #define chain_observe(number) __atomic_load_n((number), __ATOMIC_ACQUIRE)
    #define chain_publish(number, value) __atomic_store_n((number), (value), __ATOMIC_RELEASE)
    #define chain_exchange(number, value) __atomic_exchange_n((number), (value), __ATOMIC_SEQ_CST)
    #define chain_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    int64_t observe "chain_observe"(const int64_t *number)
    void publish "chain_publish"(int64_t *number, int64_t value)
    int64_t exchange "chain_exchange"(int64_t *number, int64_t value)
    void fence "chain_fence"()
