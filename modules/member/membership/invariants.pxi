# cython: language_level=3
# What a server does with a broken invariant: it says so in its log, and counts it for INFO.
#
# A server that was started with CHAINREDIS_ON_BROKEN_INVARIANT=abort, as all tests do, ends there and then, and reports
# where it was. Others go on: their users have more from a member that serves.

from libc.stdlib cimport abort, getenv
from libc.string cimport strcmp

from modules.bindings.redismodule cimport RedisModule_Log
from modules.core.invariant cimport broken_invariants, on_broken_invariant
from modules.member.state.member cimport the_member

cdef enum:
    LOGGED_INVARIANTS = 100     # of a mistake on a hot path; a log must not fill the disk


cdef bint ends_server() noexcept nogil:
    cdef const char *chosen = getenv("CHAINREDIS_ON_BROKEN_INVARIANT")
    return chosen != NULL and strcmp(chosen, "abort") == 0


cdef void report_invariant(const char *text, const char *function) noexcept nogil:
    if broken_invariants() <= LOGGED_INVARIANTS:
        RedisModule_Log(the_member().ctx, "warning", "broken invariant, a mistake in this module: %s, in %s",
                        text, function)
    if ends_server():
        abort()


cdef void watch_invariants() noexcept nogil:
    """From now on."""
    on_broken_invariant(report_invariant)
