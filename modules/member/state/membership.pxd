# cython: language_level=3
"""The room of membership: masters that hold on to this member, and its way into a chain."""

from libc.stdint cimport int64_t, uint64_t

from modules.member.state.complaint cimport ERROR_BYTES

cdef enum:
    MAX_LIFELINES = 16          # one for each master, and some that have proved nothing yet
    MAX_LISTENERS = 16          # Redis binds no more addresses
    HELLO_BYTES = 96            # the nonce and the proof that a lifeline begins with
    JOIN_ERROR_BYTES = 512      # another's error, and what to do about it


cdef struct Lifeline:
    # A master's connection that only the end of this process closes (`lifeline.pxi`).
    int fd                      # -1: a free place
    bint proven
    int64_t deadline_ms         # to have proved the secret
    int length                  # of what has come so far
    char hello[HELLO_BYTES]


cdef struct Lifelines:
    int port                    # where masters take hold of one; 0: nowhere
    int listeners[MAX_LISTENERS]
    int listener_count
    bint deaf                   # not watched: there was no descriptor for who came
    bint rebind                 # Redis binds other addresses now
    Lifeline lines[MAX_LIFELINES]
    char error[ERROR_BYTES]


cdef enum JoinPhase:
    JOIN_NONE
    JOIN_LEAVING                # our own clients are being told: Redis cuts off whom it finds blocked when copying
    JOIN_STARTING               # they have been told
    JOIN_COPYING                # Redis's full synchronisation from the old tail runs
    JOIN_LOADED                 # it has ended; still to be detached from the old tail
    JOIN_FETCHING               # the old tail's checkpoint is being copied
    JOIN_SAVING                 # the append-only file, begun anew, does not hold it yet
    JOIN_COPIED
    JOIN_FAILING                # still to be detached
    JOIN_FAILED


cdef struct Membership:
    # How this member gets into a chain.
    JoinPhase join
    bint snapshot_loaded        # the full load has delivered a position
    char join_error[JOIN_ERROR_BYTES]
    uint64_t copied_keys        # that the copy has in all, known once it has begun
    int64_t learned_from        # applied when the learner's copy, or what it had, was there: its log begins after that
    unsigned long long pin_client   # the connection on which the master had us pin the log; 0: none
    void *fetch                 # the Fetch under way; NULL: none
    uint64_t copied_joins
    uint64_t resumed_joins
