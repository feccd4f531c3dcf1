# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""INVARIANT(condition, text): what the code around it relies on, checked in the place that relies on it.

The text names the rule of docs/design.md, section 3, that the condition serves, and the fact: "rule 3: only what is
applied is acknowledged". docs/design.md lists the invariants of each rule.

A broken invariant is a mistake in this program. Bad input never breaks one: bad input gets an error reply or a log
line (rule 7). Each broken invariant is counted, and `on_broken_invariant` says who gets its text. A server writes the
text to its log, and ends if it was started for tests. The extension that the tests drive remembers the text.

A condition compares values that the code around it has at hand, so that it costs a branch that is never taken.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    typedef void (*chain_invariant_handler)(const char *text, const char *function);
    /* Weak and hidden: one of each in a library, of however many compile units it is made. */
    __attribute__((weak, visibility("hidden"))) chain_invariant_handler chain_on_broken_invariant;
    __attribute__((weak, visibility("hidden"))) uint64_t chain_broken_invariants;

    static __attribute__((cold, noinline, unused)) void chain_invariant_is_broken(
        const char *text, const char *function)
    {
        chain_broken_invariants++;
        if (chain_on_broken_invariant)
            chain_on_broken_invariant(text, function);
    }
    #define CHAIN_INVARIANT(condition, text) \
        (__builtin_expect(!!(condition), 1) ? (void)0 : chain_invariant_is_broken(text, __func__))
    """
    void INVARIANT "CHAIN_INVARIANT"(bint condition, const char *text) noexcept nogil
    ctypedef void (*InvariantHandler "chain_invariant_handler")(
        const char *text, const char *function) noexcept nogil
    InvariantHandler chain_on_broken_invariant
    uint64_t chain_broken_invariants


cdef inline void on_broken_invariant(InvariantHandler handler) noexcept nogil:
    """From now on `handler` gets each broken invariant: its text, and the function that checks it."""
    global chain_on_broken_invariant
    chain_on_broken_invariant = handler


cdef inline uint64_t broken_invariants() noexcept nogil:
    """How many have been broken since the start."""
    return chain_broken_invariants
