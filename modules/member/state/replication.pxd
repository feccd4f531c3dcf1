# cython: language_level=3
"""The room of replication: links to other members, and the connections that they have made."""

from libc.stdint cimport int64_t, uint64_t, uint8_t

from modules.bindings.hiredis cimport redisContext
from modules.bindings.redismodule cimport RedisModuleString
from modules.core.view cimport Node
from modules.member.state.complaint cimport Complaint, ERROR_BYTES
from modules.server.proofs cimport NONCE_BYTES, SECRET_BYTES

cdef enum:
    MAX_PEERS = 64              # inbound connections that prove, or have proved, the secret


cdef enum LinkPhase:
    LINK_IDLE                   # not connected; tried again at `retry_ms`
    LINK_CONNECTING             # given up at `retry_ms`, as is ...
    LINK_PROVING                # our challenge, then our proof, is on its way
    LINK_READY


cdef enum Answer:
    # What comes next on a link that is proving, where every answer was asked for.
    ANSWER_LOGIN
    ANSWER_EXEMPT
    ANSWER_PROOF                # the peer's
    ANSWER_PROVEN               # its word on ours


cdef struct Link:
    # Our connection to another member, to tell it things.
    const char *name            # "down", "up" or "head": in logs and INFO
    bint aimed                  # there is a target
    Node target
    redisContext *context
    LinkPhase phase
    Answer awaited              # while proving
    bint allowed                # the peer lets our user do what copying needs
    int watched                 # the mask registered with the event loop
    int64_t retry_ms
    int64_t down_since_ms       # not ready since then; 0: it is
    int setbacks                # failures since something came through
    int64_t setback_ms          # the first of these
    int64_t setback_committed   # what was committed then
    int64_t ready_ms            # when it was made last
    int64_t idle_ms             # when CHAIN.IDLE went out last
    bint dropped                # it was ready, and the peer's side closed it; not ready again since
    bint view_due               # the peer is behind: our view goes to it next
    int64_t greeted_epoch       # the epoch in which CHAIN.GREET went out on this connection; -1: none
    char nonce[NONCE_BYTES]     # of our challenge
    size_t unfinished_bytes     # read of an answer that is not whole yet
    RedisModuleString *streamed     # a value too long to be copied, on its way in slices
    size_t streamed_to
    uint64_t connects
    uint64_t failures
    char error[ERROR_BYTES]     # why it is not up
    Complaint complaint


cdef struct Peer:
    # An inbound connection; client 0: a free place.
    unsigned long long client
    bint proven
    char challenge[NONCE_BYTES]     # its nonce
    char nonce[NONCE_BYTES]         # ours
    char run_id[41]


cdef struct Replication:
    # What this member shares with the other members of its chain.
    bint has_secret
    uint8_t secret[SECRET_BYTES]
    Link downstream             # to the successor: updates
    Link upstream               # to the predecessor: acknowledgements
    Link head_shortcut          # of the tail to the head: acknowledgements that skip the middle
    Peer peers[MAX_PEERS]
    bint suspicious             # a neighbour's connection was dropped, and no watch has told the master yet
    uint64_t refused_unproven
    uint64_t batches_sent
    uint64_t batches_received
