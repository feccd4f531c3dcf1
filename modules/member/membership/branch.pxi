# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# CHAIN.BRANCH: the data of a backup becomes the beginning of another chain and gets a new history
# (docs/operations.md, "Restore").
#
# The data files of this server stay unchanged. The identity file maps their history to the new one. A server that ends
# in the middle therefore finds the same data at its next start, with either the old history or the new one.

from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_Call, RedisModule_DbSize, RedisModule_Log,
    RedisModule_ReplyWithError, RedisModule_ReplyWithSimpleString, RedisModule_SelectDb,
)
from modules.core.chain cimport chain_role
from modules.core.durability cimport durability_branch, durability_restore
from modules.core.hex cimport from_hex
from modules.core.messages cimport ROLE_REMOVED
from modules.core.view cimport HISTORY_BYTES
from modules.member.checkpoint cimport store_rename, track_end
from modules.member.keyspace cimport may_become_chain
from modules.member.persistence cimport disk_begin_anew, is_unknown_chains, marker_branch
from modules.member.persistence.wakeup cimport wake
from modules.member.replication cimport Text, argument_text
from modules.member.replies cimport may_block
from modules.member.state.checkpoint cimport STORE_OPEN
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.server.position cimport Position, Record
from modules.server.redis_calls cimport drop_reply


cdef bint may_branch(Member *m, char *why) noexcept nogil:
    """Returns whether this server has a chain's data and has been in no chain since its start.

    If not, the reason is in `why`, which has room for ERROR_BYTES.
    """
    if m.replication.has_secret or chain_role(&m.chain) != ROLE_REMOVED or m.chain.view.epoch != 0:
        snprintf(why, ERROR_BYTES, "this server has been of a chain since it was started: restart it first")
        return False
    if is_unknown_chains(m) or (m.disk.missing and m.disk.unproven == NULL):
        snprintf(why, ERROR_BYTES, "this server has lost its data of a chain: it has none to begin another with")
        return False
    return may_become_chain(m.ctx, why)


cdef int reply_incomplete(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply that keys are missing. Only the checkpoint, which is not here, could tell their number."""
    cdef char text[2 * ERROR_BYTES]
    RedisModule_SelectDb(ctx, 0)
    snprintf(text, sizeof(text),
             "ERR this data is incomplete: it has %llu keys, and others had been flushed and were in the checkpoint "
             "alone, which is not here or does not belong to it. Restart this server with that checkpoint, or say "
             "INCOMPLETE to do without these keys", RedisModule_DbSize(ctx))
    return RedisModule_ReplyWithError(ctx, text)


cdef void accept_incomplete(Member *m) noexcept nogil:
    """Accept the loaded data as complete, although flushed keys are missing."""
    cdef Position *position = m.disk.unproven
    m.disk.unproven = NULL
    durability_restore(&m.chain, position.history, position.applied, position.boundaries, position.boundary_count)
    m.disk.missing = False
    free(position)
    track_end(m)


cdef void save_anew(Member *m) noexcept nogil:
    """Write the data files again: they still say that flushed keys are in a checkpoint."""
    if m.disk.recording:
        disk_begin_anew(m)
        drop_reply(RedisModule_Call(m.ctx, "BGREWRITEAOF", ""))
    else:
        drop_reply(RedisModule_Call(m.ctx, "BGSAVE", "c", b"SCHEDULE"))


cdef bint branch(Member *m, const uint8_t *history) noexcept nogil:
    """Give the data a new history. Returns False, with nothing changed, if the identity file cannot be written."""
    cdef const Position *unproven = m.disk.unproven
    if not marker_branch(m, history, m.chain.applied if unproven == NULL else unproven.applied):
        return False
    if unproven != NULL:
        accept_incomplete(m)
        save_anew(m)
    durability_branch(&m.chain, history)
    memset(&m.disk.record, 0, sizeof(Record))
    m.disk.record_due = True
    m.disk.claimed = 0
    if m.checkpoint.tracking and m.checkpoint.store == STORE_OPEN:
        store_rename(&m.checkpoint, history)
    wake(m)
    RedisModule_Log(m.ctx, "notice", "the data up to sn %lld is the beginning of another chain's history",
                    <long long>m.chain.applied)
    return True


cdef int branch_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.BRANCH history [INCOMPLETE] -> OK | ERR

    No proof of a secret is asked for: a server in no chain has no secret. The user's right to run the command is
    enough, as for CHAIN.ADOPT of a first view.
    """
    cdef uint8_t history[HISTORY_BYTES]
    cdef char why[ERROR_BYTES + 4]
    cdef Text text
    argument_text(argv[1], &text)
    if not may_block(ctx):
        return RedisModule_ReplyWithError(ctx, "ERR not inside MULTI, a script or a module's call")
    if not from_hex(text.bytes, text.length, history, HISTORY_BYTES):
        return RedisModule_ReplyWithError(ctx, "ERR a history is 32 hexadecimal digits")
    if not may_branch(m, &why[4]):
        memcpy(why, b"ERR ", 4)
        return RedisModule_ReplyWithError(ctx, why)
    if m.disk.unproven != NULL and argc < 3:
        return reply_incomplete(m, ctx)
    if not branch(m, history):
        return RedisModule_ReplyWithError(
            ctx, "ERR this server cannot write the file chain.member.<port> in its folder: see its log")
    return RedisModule_ReplyWithSimpleString(ctx, "OK")
