# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# MEMBER.ONCE: a command that is executed once, however often it is sent (docs/decisions/0011-exactly-once.md).
#
# The head executes the command, and its reply travels in the same transaction of the stream as its effects, as
# CHAIN.ONCE. So every member, snapshot and append-only file has either both or none.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtod
from libc.string cimport memcpy

from modules.bindings.libc cimport EACCES, EINVAL, ENOENT, ENOTSUP, ESPIPE, clear_errno, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED, REDISMODULE_ERR, REDISMODULE_REPLY_ERROR,
    RedisModuleCallReply, RedisModuleCtx, RedisModuleString, RedisModule_Call, RedisModule_CallReplyProto,
    RedisModule_CallReplyType, RedisModule_CreateString, RedisModule_Free, RedisModule_FreeCallReply,
    RedisModule_FreeString, RedisModule_GetCommandKeysWithFlags, RedisModule_GetContextFlags,
    RedisModule_GetSelectedDb, RedisModule_KeyAtPosWithFlags, RedisModule_Replicate, RedisModule_ReplicateVerbatim,
    RedisModule_ReplyWithArray, RedisModule_ReplyWithAttribute, RedisModule_ReplyWithBigNumber,
    RedisModule_ReplyWithBool, RedisModule_ReplyWithCallReply, RedisModule_ReplyWithDouble,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_ReplyWithMap, RedisModule_ReplyWithNull,
    RedisModule_ReplyWithNullArray, RedisModule_ReplyWithSet, RedisModule_ReplyWithSimpleString,
    RedisModule_ReplyWithStringBuffer, RedisModule_ReplyWithVerbatimStringType, RedisModule_StringPtrLen,
    RedisModule_StringToLongLong,
)
from modules.core.chain cimport chain_takes_writes
from modules.core.kept_reply cimport ReplyPart, reply_part
from modules.core.once_table cimport (
    ONCE_ID_BYTES, ONCE_OLD, ONCE_OTHER, ONCE_REPEATED, OnceRecord, OnceTable, OnceVerdict, once_copy, once_digest,
    once_find, once_forget_oldest, once_forget_silent, once_has_place, once_judge, once_prepare, once_put, once_remove,
)
from modules.core.view cimport KIND_PUT
from modules.member.keyspace cimport redis_number, set_redis
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.tickets cimport open_ticket
from modules.member.replies cimport reply_not_head
from modules.member.state.member cimport Member
from modules.server.acl cimport is_denied
from modules.server.command_table cimport RULE_READ, begins_with, table_rule_of

cdef extern from *:
    const char *NOT_IN_PUT_CHAINS "\"ERR MEMBER.ONCE is in chains of all commands (member.commands); nothing was done\""
    const char *ONLY_THE_STREAM "\"ERR only the stream of effects says this\""

# How a command is called: `!` its effects are replicated, `C` as the client's user, `E` a refusal is a reply, `M`
# refused when memory is short, `0` the client's RESP. With `S` what no script may do is refused.
cdef extern from *:
    const char *AS_IN_SCRIPTS "\"!CEM0Sv\""
    const char *AS_CLIENT "\"!CEM0v\""


# ----------------------------------------------------------------------------------------------------- arguments

cdef bint parse_id(RedisModuleString *argument, const char **id, size_t *length) noexcept nogil:
    id[0] = RedisModule_StringPtrLen(argument, length)
    return 1 <= length[0] <= ONCE_ID_BYTES


cdef uint64_t digest_of(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """The same words in another database are another command."""
    cdef uint64_t digest = <uint64_t>RedisModule_GetSelectedDb(ctx)
    cdef size_t length
    cdef const char *bytes
    cdef int i
    for i in range(argc):
        bytes = RedisModule_StringPtrLen(argv[i], &length)
        digest = once_digest(digest, bytes, length)
    return digest


cdef bint is_word(RedisModuleString *argument, const char *word, size_t length) noexcept nogil:
    cdef size_t found
    cdef const char *bytes = RedisModule_StringPtrLen(argument, &found)
    return found == length and begins_with(bytes, word, length)


cdef bint runs_script(RedisModuleString *name) noexcept nogil:
    return is_word(name, "eval", 4) or is_word(name, "evalsha", 7) or is_word(name, "fcall", 5)


cdef const char *how_to_call(RedisModuleString *name) noexcept nogil:
    """Scripts may not be called by scripts, nor may MEMBER.PUT, which blocks in chains of the other kind."""
    if runs_script(name) or is_word(name, "member.put", 10) or is_word(name, "member.del", 10):
        return AS_CLIENT
    return AS_IN_SCRIPTS


cdef int once_keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Tell Redis the positions of the inner command's keys: for ACLs, COMMAND GETKEYS and MOVED."""
    cdef int count = 0
    cdef int *flags = NULL
    cdef int *keys
    cdef int i
    if argc < 4 or is_word(argv[3], "member.once", 11):     # refused, and each level would take some of the stack
        return 0
    keys = RedisModule_GetCommandKeysWithFlags(ctx, &argv[3], argc - 3, &count, &flags)
    if keys == NULL:
        return 0
    for i in range(count):
        RedisModule_KeyAtPosWithFlags(ctx, keys[i] + 3, flags[i])
    RedisModule_Free(keys)
    RedisModule_Free(flags)
    return 0


# ------------------------------------------------------------------------------------------- a reply, given again

cdef void reply_text(RedisModuleCtx *ctx, const ReplyPart *part) noexcept nogil:
    """Reply a simple string or an error, for which Redis needs a NUL at the end."""
    cdef RedisModuleString *text = RedisModule_CreateString(NULL, part.text, part.length)
    if part.letter == c"+":
        RedisModule_ReplyWithSimpleString(ctx, RedisModule_StringPtrLen(text, NULL))
    else:
        RedisModule_ReplyWithError(ctx, RedisModule_StringPtrLen(text, NULL))
    RedisModule_FreeString(NULL, text)


cdef void reply_number(RedisModuleCtx *ctx, const ReplyPart *part) noexcept nogil:
    cdef RedisModuleString *text = RedisModule_CreateString(NULL, part.text, part.length)
    cdef long long number = 0
    if part.letter == c",":
        RedisModule_ReplyWithDouble(ctx, strtod(RedisModule_StringPtrLen(text, NULL), NULL))
    else:
        RedisModule_StringToLongLong(text, &number)
        RedisModule_ReplyWithLongLong(ctx, number)
    RedisModule_FreeString(NULL, text)


cdef void reply_verbatim(RedisModuleCtx *ctx, const ReplyPart *part) noexcept nogil:
    cdef char kind[4]
    memcpy(kind, part.text, 3)
    kind[3] = 0
    RedisModule_ReplyWithVerbatimStringType(ctx, part.text + 4, part.length - 4, kind)


cdef void reply_again(RedisModuleCtx *ctx, const ReplyPart *part) noexcept nogil:
    cdef char letter = part.letter
    if letter == c"+" or letter == c"-":
        reply_text(ctx, part)
    elif letter == c":" or letter == c",":
        reply_number(ctx, part)
    elif letter == c"*" and part.number < 0:
        RedisModule_ReplyWithNullArray(ctx)
    elif letter == c"_" or part.number < 0:
        RedisModule_ReplyWithNull(ctx)
    elif letter == c"$":
        RedisModule_ReplyWithStringBuffer(ctx, part.text, part.length)
    elif letter == c"*":
        RedisModule_ReplyWithArray(ctx, part.number)
    elif letter == c"%":
        RedisModule_ReplyWithMap(ctx, part.number)
    elif letter == c"~":
        RedisModule_ReplyWithSet(ctx, part.number)
    elif letter == c"|":
        RedisModule_ReplyWithAttribute(ctx, part.number)
    elif letter == c"#":
        RedisModule_ReplyWithBool(ctx, part.text[0] == c"t")
    elif letter == c"(":
        RedisModule_ReplyWithBigNumber(ctx, part.text, part.length)
    elif letter == c"=" and part.length >= 4:
        reply_verbatim(ctx, part)


cdef int reply_kept(Member *m, RedisModuleCtx *ctx, const OnceRecord *record) noexcept nogil:
    """Reply what the command was replied when it was executed. To a client with another RESP, each part is as Redis
    writes it for that.
    """
    cdef ReplyPart part
    cdef uint64_t at = 0
    m.clients.once_repetitions += 1
    if record.reply_length == 0:
        return RedisModule_ReplyWithError(
            ctx, "ONCELONG this command was executed, and its reply was too long to be kept (member.once-memory)")
    while reply_part(record.reply, record.reply_length, &at, &part):
        reply_again(ctx, &part)
    return 0


# ----------------------------------------------------------------------------------------------- at the head

cdef int once_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.ONCE client_id sequence command [argument …] -> the command's reply | ONCEOLD | ONCEFULL | MOVED | ERR
    MEMBER.ONCE client_id FORGET -> integer: 1 if the client was known
    """
    cdef const char *id
    cdef size_t length
    cdef long long sequence
    if not m.chain.log.streams and own_kind(m) == KIND_PUT:
        return RedisModule_ReplyWithError(ctx, NOT_IN_PUT_CHAINS)
    if not m.effects.leads or not chain_takes_writes(&m.chain):
        return reply_not_head(m, ctx)
    if not parse_id(argv[1], &id, &length):
        return RedisModule_ReplyWithError(ctx, "ERR client_id is a string of 1 to 64 bytes")
    open_ticket(m)      # a repetition shows effects that may not be committed yet, as the command itself does
    if argc == 3 and is_word(argv[2], "forget", 6):
        return give_up_place(m, ctx, argv[1], id, length)
    if m.clients.once_running:
        return RedisModule_ReplyWithError(ctx, "ERR MEMBER.ONCE is not executed by a command under MEMBER.ONCE")
    if argc < 4 or RedisModule_StringToLongLong(argv[2], &sequence) == REDISMODULE_ERR or sequence < 1:
        return RedisModule_ReplyWithError(ctx, "ERR MEMBER.ONCE client_id sequence command: a sequence is from 1 on")
    if table_rule_of(m.keyspace.commands, &argv[3], argc - 3) == RULE_READ:
        return run_read(ctx, &argv[3], argc - 3)
    return run_once(m, ctx, argv, argc, sequence)


cdef int give_up_place(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *client, const char *id, size_t length,
) noexcept nogil:
    cdef OnceRecord *record = once_find(&m.clients.once, id, length)
    if record == NULL:
        return RedisModule_ReplyWithLongLong(ctx, 0)
    once_remove(&m.clients.once, record)
    RedisModule_Replicate(ctx, "CHAIN.ONCE", "ls", <long long>0, client)
    return RedisModule_ReplyWithLongLong(ctx, 1)


cdef int run_read(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """A command that only reads may be executed as often as one likes."""
    cdef RedisModuleCallReply *reply
    clear_errno()
    reply = RedisModule_Call(
        ctx, RedisModule_StringPtrLen(argv[0], NULL), AS_IN_SCRIPTS, &argv[1], <size_t>(argc - 1))
    return reply_call(ctx, reply, errno)


cdef int run_once(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc, int64_t sequence,
) noexcept nogil:
    cdef OnceTable *table = &m.clients.once
    cdef uint64_t digest = digest_of(ctx, &argv[3], argc - 3)
    cdef size_t length
    cdef const char *id = RedisModule_StringPtrLen(argv[1], &length)
    cdef OnceRecord *record = once_find(table, id, length)
    cdef OnceVerdict verdict = once_judge(record, sequence, digest)
    cdef uint64_t forgotten     # the client itself may be among them
    if verdict == ONCE_REPEATED:
        return 0 if is_denied(ctx, &argv[2], argc - 2) else reply_kept(m, ctx, record)
    if verdict == ONCE_OLD:
        return RedisModule_ReplyWithError(
            ctx, "ONCEOLD this client has had a newer command executed: the reply of this one is not kept any more")
    if verdict == ONCE_OTHER:
        return RedisModule_ReplyWithError(
            ctx, "ONCEOTHER another command of this client has had this sequence number: nothing was done")
    forgotten = once_forget_silent(table, m.now_ms, 1000 * m.settings.once_keep)
    if (not once_has_place(table, once_find(table, id, length), m.settings.once_clients, m.settings.once_memory)
            or not once_prepare(table)):
        note_forgotten(ctx, forgotten)
        return RedisModule_ReplyWithError(
            ctx, "ONCEFULL no place for another reply: nothing was done. Try again, or raise member.once-clients and "
            "member.once-memory")
    return run_and_record(m, ctx, argv, argc, sequence, digest, forgotten)


cdef void note_forgotten(RedisModuleCtx *ctx, uint64_t forgotten) noexcept nogil:
    if forgotten:
        RedisModule_Replicate(ctx, "CHAIN.ONCE", "l", <long long>forgotten)


cdef bint was_refused(RedisModuleCallReply *reply, int why) noexcept nogil:
    """Returns whether the error is Redis's refusal of a call for what the command is: it would refuse it again. `why`
    is errno after the call.
    """
    if RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_ERROR:
        return False
    return why == ENOENT or why == EINVAL or why == ESPIPE or why == EACCES or why == ENOTSUP


cdef int reply_call(RedisModuleCtx *ctx, RedisModuleCallReply *reply, int why) noexcept nogil:
    """Reply what the call was replied, and free that. `why` is errno after the call."""
    if reply == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR this command cannot be called under MEMBER.ONCE")
    if why == EACCES and RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_ERROR:
        RedisModule_ReplyWithError(
            ctx, "NOPERM this user has no permissions to run this command under MEMBER.ONCE, or for these keys")
    else:
        RedisModule_ReplyWithCallReply(ctx, reply)
    RedisModule_FreeCallReply(reply)
    return 0


cdef int64_t let_script_run_through(Member *m) noexcept nogil:
    """Keep Redis from handling events amid a slow script. Returns the setting's value before.

    Redis protects the client of a slow script from being freed, and from having its next command read. Of a script that
    a module calls, that is a client without a connection, and not the one that waits: the server would crash.
    """
    cdef int64_t threshold = redis_number(m, b"busy-reply-threshold")
    if threshold > 0:
        set_redis(m, b"busy-reply-threshold", b"0")
    return threshold


cdef void restore_threshold(Member *m, int64_t threshold) noexcept nogil:
    cdef char text[24]
    if threshold > 0:
        snprintf(text, sizeof(text), "%lld", <long long>threshold)
        set_redis(m, b"busy-reply-threshold", text)


cdef int run_and_record(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc, int64_t sequence, uint64_t digest,
    uint64_t forgotten,
) noexcept nogil:
    """Execute the command, and keep its reply. Whatever was executed is recorded, also an error: it must not be
    executed later, when perhaps it is none.

    A refusal for what the command is, is not recorded. Then the filter has seen this one command, and none that
    another module's command called before it failed.
    """
    cdef uint64_t seen
    cdef bint refused
    cdef RedisModuleCallReply *reply
    cdef const char *kept
    cdef size_t length = 0
    cdef size_t id_length
    cdef const char *id = RedisModule_StringPtrLen(argv[1], &id_length)
    cdef int64_t threshold = let_script_run_through(m) if runs_script(argv[3]) else 0
    cdef int why
    m.clients.once_running = True
    seen = m.keyspace.filtered
    clear_errno()
    reply = RedisModule_Call(ctx, RedisModule_StringPtrLen(argv[3], NULL), how_to_call(argv[3]), &argv[4],
                             <size_t>(argc - 4))
    why = errno
    refused = reply == NULL or (was_refused(reply, why) and m.keyspace.filtered == seen + 1)
    m.clients.once_running = False
    restore_threshold(m, threshold)
    if refused:
        note_forgotten(ctx, forgotten)
        return reply_call(ctx, reply, why)
    kept = RedisModule_CallReplyProto(reply, &length)
    if length > <size_t>m.settings.once_memory:
        length = 0
    keep_reply(m, id, id_length, sequence, digest, kept, length)
    RedisModule_Replicate(ctx, "CHAIN.ONCE", "lsllb", <long long>forgotten, argv[1], <long long>sequence,
                          <long long>digest, kept, length)
    return reply_call(ctx, reply, 0)


cdef void keep_reply(
    Member *m, const char *id, uint64_t id_length, int64_t sequence, uint64_t digest, const char *reply,
    uint64_t length,
) noexcept nogil:
    cdef char *copy = once_copy(reply, length)
    once_put(&m.clients.once, id, id_length, sequence, digest, copy, length if copy != NULL else 0, m.now_ms)


# ------------------------------------------------------------------------- from the stream, or a file that has it

cdef int kept_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ONCE forgotten [client_id [sequence digest reply]] -> nil | ERR, to whoever is not the stream

    That many clients, the longest silent ones, are forgotten; then this client's place is given up, or its newest reply
    is kept.
    """
    cdef long long forgotten
    if not RedisModule_GetContextFlags(ctx) & (REDISMODULE_CTX_FLAGS_REPLICATED | REDISMODULE_CTX_FLAGS_LOADING):
        return RedisModule_ReplyWithError(ctx, ONLY_THE_STREAM)
    if (argc != 2 and argc != 3 and argc != 6) or RedisModule_StringToLongLong(argv[1], &forgotten) == REDISMODULE_ERR:
        return RedisModule_ReplyWithError(ctx, "ERR no member of a chain says this")
    if (forgotten < 0 or not once_forget_oldest(&m.clients.once, <uint64_t>forgotten)
            or (argc > 2 and not take_kept(m, argv, argc))):
        return RedisModule_ReplyWithError(ctx, "ERR this is not what follows on the replies that are kept here")
    RedisModule_ReplicateVerbatim(ctx)
    return RedisModule_ReplyWithNull(ctx)


cdef bint take_kept(Member *m, RedisModuleString **argv, int argc) noexcept nogil:
    """Returns False if it cannot be what the head did: Redis then ends this server, and does not diverge."""
    cdef OnceTable *table = &m.clients.once
    cdef const char *id
    cdef const char *reply
    cdef size_t id_length
    cdef size_t length
    cdef long long sequence
    cdef long long digest
    cdef OnceRecord *record
    if not parse_id(argv[2], &id, &id_length):
        return False
    record = once_find(table, id, id_length)
    if argc == 3:
        if record != NULL:
            once_remove(table, record)
        return record != NULL
    if (RedisModule_StringToLongLong(argv[3], &sequence) == REDISMODULE_ERR
            or RedisModule_StringToLongLong(argv[4], &digest) == REDISMODULE_ERR or sequence < 1
            or (record != NULL and record.sequence >= sequence) or not once_prepare(table)):
        return False
    reply = RedisModule_StringPtrLen(argv[5], &length)
    keep_reply(m, id, id_length, sequence, <uint64_t>digest, reply, length)
    return True
