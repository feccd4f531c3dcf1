# cython: language_level=3
"""INVARIANT(condition): what the code around it relies on, checked in the place that relies on it.

A broken invariant is a mistake in this program. Bad input never breaks one: that is an error reply or a log line (rule
7). Each one is counted, and handed to whoever has asked for it by `on_broken_invariant`: a server writes it to its log,
and ends if it was started for tests; the extension that the tests drive remembers it.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    typedef void (*chain_invariant_handler)(const char *condition, const char *function);
    /* Weak and hidden: one of each in a library, of however many compile units it is made. */
    __attribute__((weak, visibility("hidden"))) chain_invariant_handler chain_on_broken_invariant;
    __attribute__((weak, visibility("hidden"))) uint64_t chain_broken_invariants;

    static __attribute__((cold, noinline, unused)) void chain_invariant_is_broken(
        const char *condition, const char *function)
    {
        chain_broken_invariants++;
        if (chain_on_broken_invariant)
            chain_on_broken_invariant(condition, function);
    }
    #define CHAIN_INVARIANT(condition) \
        (__builtin_expect(!!(condition), 1) ? (void)0 : chain_invariant_is_broken(#condition, __func__))
    """
    void INVARIANT "CHAIN_INVARIANT"(bint condition) noexcept nogil
    ctypedef void (*InvariantHandler "chain_invariant_handler")(
        const char *condition, const char *function) noexcept nogil
    InvariantHandler chain_on_broken_invariant
    uint64_t chain_broken_invariants


cdef inline void on_broken_invariant(InvariantHandler handler) noexcept nogil:
    """From now on `handler` gets each broken invariant, as text: its condition, and the function that has it."""
    global chain_on_broken_invariant
    chain_on_broken_invariant = handler


cdef inline uint64_t broken_invariants() noexcept nogil:
    """How many have been broken since the start."""
    return chain_broken_invariants
