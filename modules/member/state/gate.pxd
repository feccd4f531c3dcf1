# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/gate: the numbers that the main thread and the gate's thread share, and what the main
thread keeps of the gate.
"""

from libc.stdint cimport int64_t

from modules.bindings.pthread cimport pthread_t

cdef enum:
    MAX_EXEMPT = 8              # connections of this process to its own server
    MAX_TRIALS = 64             # clients that were handed back and have not called MEMBER.UNHELD yet, and those to kill
    GATE_ERROR_BYTES = 192


cdef struct GateShared:
    # Only `observe` and `publish` (modules/bindings/atomics.pxd) touch these numbers.
    # The main thread writes:
    int64_t ticket              # newest ticket opened. The gate loads it after it has read bytes
    int64_t committed           # tickets up to this one are committed; INT64_MAX: the gate holds nothing
    int64_t executed            # tickets up to this one were executed by the own server; INT64_MAX: at a head
    int64_t lease_until         # boot clock, ms: before it what is committed may go
    int64_t proven_ms           # boot clock, ms: what was read before it may go without a lease
    int64_t era                 # what was read in an older era is never sent
    int64_t closing_era         # the newest era that began with the end of all held clients' connections
    int64_t closed              # 1: nothing is read from held clients
    int64_t hold_timeout        # ms; 0: none
    int64_t ajar                # 1: a ticket stays open; the main thread has to pass once more if a reply waits for it
    char main_writes[64]        # two threads do not write into one cache line
    # The gate's thread writes:
    int64_t waiting             # the gate sleeps, and something is held: wake it when one of the numbers above moves
    int64_t inattentive         # the gate does not watch for a reply: wake it when what is said may go
    int64_t held_bytes
    int64_t held_clients
    int64_t oldest_read_ms      # boot clock: when the oldest held bytes were read; 0: nothing is held
    int64_t clients
    int64_t unheld_clients      # clients that the gate relays without holding
    int64_t dropped_clients     # clients that were closed because of what was held
    int64_t relayed_bytes       # replies
    char gate_writes[64]


cdef struct Trial:
    int64_t client              # its id
    bint doomed                 # it could not be given to the gate: kill it


cdef struct Gate:
    GateShared shared
    # Of the main thread alone:
    bint runs
    bint absent                 # it was not wanted when the server started, and clients came without it
    pthread_t thread
    int control                 # messages and sockets to the gate's thread, and back
    int wake_fd
    int epoll                   # the one of Redis's event loop
    int exempt[MAX_EXEMPT]      # local ports of this process's own connections; 0: the place is free
    char exempt_host[64]        # the local address of the newest of them
    Trial trials[MAX_TRIALS]
    int trial_count
    int64_t handed_back         # clients that left the gate by MEMBER.UNHELD, since the start
    char error[GATE_ERROR_BYTES]    # why this server's clients cannot be swapped; empty: they can
