# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/membership: joining, and the lifelines of masters."""

from libc.stdint cimport int64_t, uint64_t

from modules.core.client_ports cimport ClientPorts
from modules.member.state.complaint cimport ERROR_BYTES

cdef enum:
    MAX_LIFELINES = 16          # one for each master, and some for connections that have not proved the secret yet
    MAX_LISTENERS = 16          # Redis binds at most so many addresses
    HELLO_BYTES = 96            # length of the nonce and the proof with which a lifeline begins
    JOIN_ERROR_BYTES = 512      # the other server's error, and advice


cdef struct Lifeline:
    # A connection of a master that stays open until this process ends (`lifeline.pxi`).
    int fd                      # -1: the place is free
    bint proven
    int64_t deadline_ms         # the secret must be proved by then
    int length                  # bytes received of `hello`
    char hello[HELLO_BYTES]


cdef struct Lifelines:
    int port                    # port on which lifelines are accepted; 0: none
    int listeners[MAX_LISTENERS]
    int listener_count
    bint deaf                   # the listeners are not watched, because a connection came when no descriptor was free
    bint rebind                 # Redis's bind addresses have changed: listen again
    Lifeline lines[MAX_LIFELINES]
    char error[ERROR_BYTES]


cdef enum JoinPhase:
    JOIN_NONE
    # this member's blocked clients get their replies; Redis would disconnect blocked clients of a new replica
    JOIN_LEAVING
    JOIN_STARTING               # the blocked clients have their replies
    JOIN_COPYING                # Redis's full synchronisation from the old tail is running
    # the synchronisation is complete; this server must stop being a replica of the old tail, if it is one
    JOIN_LOADED
    JOIN_FETCHING               # the old tail's checkpoint is being copied
    JOIN_SAVING                 # the append-only file is being rewritten, and does not hold the copy yet
    JOIN_COPIED
    JOIN_FAILING                # the copy has failed; this server must stop being a replica of the old tail
    JOIN_FAILED


cdef struct Membership:
    # How this member joins a chain.
    JoinPhase join
    int64_t copy_since_ms       # when our own server was told to ask for its copy, in a chain of all commands
    bint snapshot_loaded        # the full synchronisation has delivered the snapshot's position
    char join_error[JOIN_ERROR_BYTES]
    uint64_t copied_keys        # keys in the whole copy; known once the copy has begun
    # `applied` when the copy, or the learner's own data, was complete: the learner's log begins after it
    int64_t learned_from
    unsigned long long pin_client   # connection by which the master had this tail pin its log; 0: no pin
    void *fetch                 # the running Fetch (`transfer.pxi`); NULL: none
    ClientPorts second_port     # this server's own
    bint second_port_known      # no setting has changed since it was read
    uint64_t copied_joins
    uint64_t resumed_joins
