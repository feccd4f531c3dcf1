# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A server logs a broken invariant and counts it for INFO.
#
# A server that was started with CHAINREDIS_ON_BROKEN_INVARIANT=abort, as in all tests, aborts at once, and Redis logs
# the stack. Other servers continue, because users prefer a member that serves.

from libc.stdlib cimport abort, getenv
from libc.string cimport strcmp

from modules.bindings.redismodule cimport RedisModule_Log
from modules.core.invariant cimport broken_invariants, on_broken_invariant
from modules.member.state.member cimport the_member

cdef enum:
    LOGGED_INVARIANTS = 100     # a broken invariant on a hot path must not fill the disk with log lines


cdef bint ends_server() noexcept nogil:
    cdef const char *chosen = getenv("CHAINREDIS_ON_BROKEN_INVARIANT")
    return chosen != NULL and strcmp(chosen, "abort") == 0


cdef void report_invariant(const char *text, const char *function) noexcept nogil:
    """Log the broken invariant; abort if the environment says so."""
    if broken_invariants() <= LOGGED_INVARIANTS:
        RedisModule_Log(the_member().ctx, "warning", "broken invariant, a mistake in this module: %s, in %s",
                        text, function)
    if ends_server():
        abort()


cdef void watch_invariants() noexcept nogil:
    """Report broken invariants from now on."""
    on_broken_invariant(report_invariant)
