# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Proof of the chain's secret, in both directions, on every connection between members (docs/protocol.md, "Proof of
# the secret").

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset

from modules.bindings.libc cimport ENOENT
from modules.bindings.libcrypto cimport CRYPTO_memcmp
from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModuleUser, RedisModule_FreeModuleUser, RedisModule_FreeString,
    RedisModule_GetClientId, RedisModule_GetModuleUserFromUserName, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithError, RedisModule_ReplyWithSimpleString,
    RedisModule_StringPtrLen,
)
from modules.core.hex cimport from_hex
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.member.state.replication cimport MAX_PEERS, Peer
from modules.server.acl cimport current_user_name
from modules.server.client_list cimport server_descriptor
from modules.server.logins cimport denial
from modules.server.proofs cimport NONCE_BYTES, PROOF_BYTES, SECRET_BYTES, draw_nonce, proofs_equal, prove_with
from modules.server.sockets cimport set_slow_ack


cdef void prove(
    const Member *m, const char *what, const char *first, const char *second, const char *run_id, char *out,
) noexcept nogil:
    """Write the proof of this member's secret to `out`, which has room for PROOF_BYTES."""
    prove_with(m.replication.secret, what, first, second, run_id, out)


cdef void take_secret(Member *m, const unsigned char *secret) noexcept nogil:
    """Take over the chain's secret. Peers that proved another secret before lose their proof."""
    if m.replication.has_secret and CRYPTO_memcmp(m.replication.secret, secret, SECRET_BYTES) == 0:
        return
    memcpy(m.replication.secret, secret, SECRET_BYTES)
    m.replication.has_secret = True
    give_back_peers(m)
    memset(m.replication.peers, 0, sizeof(m.replication.peers))


# ------------------------------------------------------------------------------------- inbound connections

cdef Peer *find_peer(Member *m, unsigned long long client) noexcept nogil:
    """Returns the inbound connection with that client id; NULL: no such peer. Client 0 finds a free place."""
    cdef int i
    for i in range(MAX_PEERS):
        if m.replication.peers[i].client == client:
            return &m.replication.peers[i]
    return NULL


cdef void forget_peer(Member *m, unsigned long long client) noexcept nogil:
    """The client has disconnected: its place becomes free."""
    cdef Peer *peer = find_peer(m, client)
    if peer != NULL:
        end_direct(peer)
        memset(peer, 0, sizeof(Peer))


cdef Peer *free_place(Member *m) noexcept nogil:
    """Returns a place for one more connection: a free one, else that of an unproven connection; NULL: none."""
    cdef Peer *place = find_peer(m, 0)
    cdef int i
    if place != NULL:
        return place
    for i in range(MAX_PEERS):
        if not m.replication.peers[i].proven:
            return &m.replication.peers[i]
    return NULL


cdef void spare_acks(const Member *m) noexcept nogil:
    """Most messages go one way on their connection, and the kernel is to acknowledge several at once. Called by the
    clock, because the kernel does so for as long as messages follow each other.
    """
    cdef int i
    for i in range(MAX_PEERS):
        if m.replication.peers[i].proven and m.replication.peers[i].fd >= 0:
            set_slow_ack(m.replication.peers[i].fd)


cdef Peer *proven_peer(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns the peer on this connection; NULL, with an error replied, if it has not proved the secret (rule 2)."""
    cdef Peer *peer = find_peer(m, RedisModule_GetClientId(ctx))
    if peer != NULL and peer.proven and m.replication.has_secret:
        return peer
    m.replication.refused_unproven += 1
    RedisModule_ReplyWithError(ctx, "ERR this connection has not proved the chain's secret")
    return NULL


cdef int challenge_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.CHALLENGE nonce -> [nonce2, run_id, proof] | ERR"""
    cdef size_t length
    cdef const char *nonce = RedisModule_StringPtrLen(argv[1], &length)
    cdef unsigned long long client = RedisModule_GetClientId(ctx)
    cdef unsigned char ignored[16]
    cdef char proof[PROOF_BYTES]
    cdef Peer *peer
    if not m.replication.has_secret:
        return RedisModule_ReplyWithError(ctx, "ERR this server has no chain's secret yet")
    if not from_hex(nonce, length, ignored, 16):
        return RedisModule_ReplyWithError(ctx, "ERR a nonce is 32 hexadecimal digits")
    peer = find_peer(m, client) if client else NULL
    if peer == NULL:
        peer = free_place(m)
    if peer == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR too many connections of members")
    memset(peer, 0, sizeof(Peer))
    peer.client = client
    memcpy(peer.challenge, nonce, NONCE_BYTES - 1)
    draw_nonce(peer.nonce)
    prove(m, "answer", peer.challenge, peer.nonce, m.self.run_id, proof)
    RedisModule_ReplyWithArray(ctx, 3)
    RedisModule_ReplyWithCString(ctx, peer.nonce)
    RedisModule_ReplyWithCString(ctx, m.self.run_id)
    return RedisModule_ReplyWithCString(ctx, proof)


cdef int prove_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.PROVE proof run_id -> OK TERSE | ERR"""
    cdef size_t proof_length
    cdef size_t run_id_length
    cdef const char *proof = RedisModule_StringPtrLen(argv[1], &proof_length)
    cdef const char *run_id = RedisModule_StringPtrLen(argv[2], &run_id_length)
    cdef unsigned char ignored[20]
    cdef char expected[PROOF_BYTES]
    cdef Peer *peer = find_peer(m, RedisModule_GetClientId(ctx))
    if peer == NULL or not peer.nonce[0] or not m.replication.has_secret:
        return RedisModule_ReplyWithError(ctx, "ERR CHAIN.CHALLENGE comes first")
    if not from_hex(run_id, run_id_length, ignored, 20):
        return RedisModule_ReplyWithError(ctx, "ERR a run_id is 40 hexadecimal digits")
    memcpy(peer.run_id, run_id, 40)
    peer.run_id[40] = 0
    prove(m, "prove", peer.nonce, peer.challenge, peer.run_id, expected)
    peer.nonce[0] = 0       # a challenge allows one attempt
    if not proofs_equal(proof, proof_length, expected):
        m.replication.refused_unproven += 1
        return RedisModule_ReplyWithError(ctx, "ERR that does not prove the chain's secret")
    peer.proven = True
    peer.fd = server_descriptor(m.ctx, <int64_t>peer.client)
    return RedisModule_ReplyWithSimpleString(ctx, "OK TERSE")


cdef int allowed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ALLOWED command… -> [ALLOWED] | NOPERM

    Answers whether the user of this connection may run all of these commands. A learner asks before it discards its own
    data, because Redis's replication would only log a missing permission and try again for ever.
    """
    cdef RedisModuleString *name = current_user_name(ctx)
    cdef RedisModuleUser *user = RedisModule_GetModuleUserFromUserName(name) if name != NULL else NULL
    cdef char why[ERROR_BYTES]
    cdef int i
    why[0] = 0
    for i in range(1, argc):
        if user != NULL and not why[0] and not may_run(user, argv[i]):
            snprintf(why, ERROR_BYTES, "NOPERM the user %.64s may not run %.32s here",
                     RedisModule_StringPtrLen(name, NULL), RedisModule_StringPtrLen(argv[i], NULL))
    if user != NULL:
        RedisModule_FreeModuleUser(user)
    if name != NULL:
        RedisModule_FreeString(ctx, name)
    if why[0]:
        return RedisModule_ReplyWithError(ctx, why)
    RedisModule_ReplyWithArray(ctx, 1)
    return RedisModule_ReplyWithCString(ctx, "ALLOWED")


cdef bint may_run(RedisModuleUser *user, RedisModuleString *command) noexcept nogil:
    """Returns whether the user may run the command. A command that this server does not have counts as permitted."""
    cdef int why = denial(user, command)
    return why == 0 or why == ENOENT
