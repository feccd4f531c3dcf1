# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of modules/member/replication: links to other members, and the connections that members made to this one.
"""

from libc.stdint cimport int64_t, uint64_t, uint8_t

from modules.bindings.hiredis cimport redisContext
from modules.bindings.libssl cimport SSL
from modules.bindings.redismodule cimport RedisModuleString
from modules.core.client_ports cimport PortTable
from modules.core.messages cimport Batch
from modules.core.view cimport Node
from modules.member.state.complaint cimport Complaint, ERROR_BYTES
from modules.server.proofs cimport NONCE_BYTES, SECRET_BYTES

cdef enum:
    MAX_PEERS = 64              # inbound connections that have proved the secret, or are about to


cdef enum LinkPhase:
    LINK_IDLE                   # not connected; the next attempt is at `retry_ms`
    LINK_CONNECTING             # the attempt is given up at `retry_ms`
    LINK_SECURING               # the TLS handshake is under way; given up at `retry_ms`, too
    LINK_PROVING                # the handshake is under way; given up at `retry_ms`, too
    LINK_READY


cdef enum Answer:
    # The reply that a link in LINK_PROVING expects next. Each is the answer to a command that the link has sent.
    ANSWER_LOGIN
    ANSWER_UNHELD
    ANSWER_EXEMPT
    ANSWER_PROOF                # the peer's proof


cdef struct Link:
    # A connection that this member makes to another, for messages of the chain.
    const char *name            # "down", "up" or "head", for logs and INFO
    bint aimed                  # `target` is set
    Node target
    redisContext *context
    SSL *ssl                    # of the connection, which owns it; NULL: no TLS
    LinkPhase phase
    Answer awaited              # during LINK_PROVING
    bint is_unanswered          # during LINK_PROVING: the peer has said nothing yet
    bint terse                  # the peer understands messages whose numbers are one argument
    bint allowed                # the peer's ACL allows our user what a copy needs
    int watched                 # event mask registered with the event loop
    int64_t retry_ms
    int64_t down_since_ms       # since when the link is not ready; 0: it is ready
    int setbacks                # failures since the peer last answered
    int64_t setback_ms          # time of the first of these failures
    int64_t setback_committed   # `committed` at the first of these failures
    int64_t ready_ms            # when the link last became ready
    int64_t idle_ms             # when CHAIN.IDLE was last sent
    bint dropped                # the link was ready, the peer closed it, and the link has not been ready since
    bint view_due               # the peer has an older view: our view is the next message
    int64_t greeted_epoch       # epoch in which CHAIN.GREET was sent on this connection; -1: none was sent
    char nonce[NONCE_BYTES]     # the nonce that we sent
    size_t unfinished_bytes     # bytes received of an incomplete reply
    RedisModuleString *streamed     # a long value that is sent in slices, without a copy
    size_t streamed_to
    Batch parted                # a long batch of effects that is sent in parts; count 0: none
    int64_t parted_to
    uint64_t connects
    uint64_t failures
    char error[ERROR_BYTES]     # why the link is not ready
    Complaint complaint


cdef struct Peer:
    # An inbound connection. A place with client 0 is free.
    unsigned long long client
    int fd                          # the server's descriptor for it, if it is proven
    bint proven
    bint is_direct                  # this module reads from it, and the server does not
    int own_fd                      # this module's descriptor for it, if it is direct
    bint is_readable                # it is direct, and has sent something in this pass
    bint sends_often                # it has sent a message of those that are read directly
    uint64_t taken                  # messages since it became direct
    int ticks_apart                 # for which it last stayed the server's
    int ticks_left                  # of these
    char challenge[NONCE_BYTES]     # the nonce that the peer sent
    char nonce[NONCE_BYTES]         # the nonce that we sent
    char run_id[41]


cdef struct Replication:
    # What this member shares with the other members of its chain.
    bint has_secret
    uint8_t secret[SECRET_BYTES]
    Link downstream             # to the successor; sends updates
    Link upstream               # to the predecessor; sends acknowledgements
    Link head_shortcut          # from the tail to the head; sends acknowledgements directly
    Peer peers[MAX_PEERS]
    Peer *readable[MAX_PEERS]   # those that have sent something in this pass: the table is long, and not in the caches
    int readable_count
    uint64_t taken_directly     # messages of direct peers
    bint suspicious             # a neighbour closed its connection, and no CHAIN.WATCH has told a master yet
    PortTable ports             # second ports of members, as the master has told them
    uint64_t refused_unproven
    uint64_t batches_sent
    uint64_t batches_received
