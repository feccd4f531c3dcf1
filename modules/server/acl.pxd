# cython: language_level=3
"""What Redis's ACLs do not know of our commands, asked of the user who sent one. Shared by members and masters."""

from libc.stdio cimport snprintf
from libc.string cimport strlen, strncmp, strstr

from modules.bindings.redismodule cimport (
    REDISMODULE_ACL_LOG_CMD, REDISMODULE_ACL_LOG_KEY, REDISMODULE_CTX_FLAGS_REPLICATED, REDISMODULE_OK,
    REDISMODULE_REPLY_ERROR, RedisModule_ACLAddLogEntry, RedisModule_ACLCheckCommandPermissions, RedisModule_Call,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_CreateString, RedisModule_FreeCallReply,
    RedisModule_FreeModuleUser, RedisModule_FreeString, RedisModule_GetApi, RedisModule_GetClientId,
    RedisModule_GetClientInfoById, RedisModule_GetContextFlags, RedisModule_GetCurrentUserName,
    RedisModule_GetModuleUserACLString, RedisModule_GetModuleUserFromUserName, RedisModule_ReplyWithError,
    RedisModule_StringPtrLen, RedisModule_WrongArity, RedisModuleACLLogEntryReason, RedisModuleCallReply,
    RedisModuleCtx, RedisModuleString, RedisModuleUser,
)

cdef enum:
    DENIAL_BYTES = 512


cdef inline RedisModuleUser *current_user(RedisModuleCtx *ctx) noexcept nogil:
    """To be freed with RedisModule_FreeModuleUser; NULL: nobody, who may do everything.

    Redis 7.0 ends itself when it is asked for the user of a client that has none: a module's call, or replication.
    """
    cdef RedisModuleString *name
    cdef RedisModuleUser *user
    if (RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_REPLICATED
            or RedisModule_GetClientInfoById(NULL, RedisModule_GetClientId(ctx)) != REDISMODULE_OK):
        return NULL
    name = RedisModule_GetCurrentUserName(ctx)
    user = RedisModule_GetModuleUserFromUserName(name)
    RedisModule_FreeString(ctx, name)
    return user


cdef inline bint may_run(
    RedisModuleUser *user, const char *first, const char *second, const char *third,
) noexcept nogil:
    """A command of as many words as are not NULL."""
    cdef const char *words[3]
    cdef RedisModuleString *argv[3]
    cdef bint may
    cdef int argc = 0
    cdef int i
    words[0], words[1], words[2] = first, second, third
    while argc < 3 and words[argc] != NULL:
        argv[argc] = RedisModule_CreateString(NULL, words[argc], strlen(words[argc]))
        argc += 1
    may = RedisModule_ACLCheckCommandPermissions(user, argv, argc) == REDISMODULE_OK
    for i in range(argc):
        RedisModule_FreeString(NULL, argv[i])
    return may


cdef inline int log_denial(
    RedisModuleCtx *ctx, RedisModuleUser *user, const char *command, RedisModuleACLLogEntryReason why,
) noexcept nogil:
    cdef RedisModuleString *object = RedisModule_CreateString(NULL, command, strlen(command))
    RedisModule_ACLAddLogEntry(ctx, user, object, why)
    RedisModule_FreeString(NULL, object)
    return 0


cdef inline bint has_categories() noexcept nogil:
    """Redis 7.2 and later: commands of modules are in categories, and Redis sees to the rest."""
    cdef void *function = NULL
    return RedisModule_GetApi("RedisModule_SetCommandACLCategories", &function) == REDISMODULE_OK


cdef inline bint may_administer(RedisModuleCtx *ctx, const char *marker, const char *command) noexcept nogil:
    """False, with an error replied: `-@admin` or `-@dangerous` have taken this command away, too.

    In Redis 7.0 commands of modules are in no category, and stay when these go. Who may run the marker, a command that
    nobody is given by name, has what he has by +@all: and if he may not run REPLICAOF, he has lost these categories.
    """
    cdef RedisModuleUser *user
    cdef bint may
    if has_categories():
        return True
    user = current_user(ctx)
    if user == NULL:
        return True
    may = may_run(user, "REPLICAOF", "NO", "ONE") or not may_run(user, marker, NULL, NULL)
    if not may:
        log_denial(ctx, user, command, REDISMODULE_ACL_LOG_CMD)
        RedisModule_ReplyWithError(
            ctx, "NOPERM this user has no permissions to run this command: it is one of @admin and @dangerous, and in "
            "Redis 7.0 is to be given by name to a user without +@all")
    RedisModule_FreeModuleUser(user)
    return may


cdef inline bint may_read_all(RedisModuleCtx *ctx, const char *command) noexcept nogil:
    """False, with an error replied: some keys are not this user's to read."""
    cdef RedisModuleUser *user = current_user(ctx)
    cdef RedisModuleString *rules
    cdef const char *text
    cdef const char *found
    cdef const char *selectors
    if user == NULL:
        return True
    rules = RedisModule_GetModuleUserACLString(user)
    text = RedisModule_StringPtrLen(rules, NULL)
    selectors = strstr(text, " (")      # what these add is left out of account
    found = strstr(text, " ~* ")
    if found == NULL:
        found = strstr(text, " %R~* ")
    if found != NULL and selectors != NULL and found > selectors:
        found = NULL
    if found == NULL:
        log_denial(ctx, user, command, REDISMODULE_ACL_LOG_KEY)
        RedisModule_ReplyWithError(ctx, "NOPERM this command shows all keys, and this user may not read them all")
    RedisModule_FreeString(NULL, rules)
    RedisModule_FreeModuleUser(user)
    return found != NULL


cdef inline int reply_denial(RedisModuleCtx *ctx, RedisModuleCallReply *reply) noexcept nogil:
    """What Redis says of a command that the user may not run, in the words that it has for that."""
    cdef char text[DENIAL_BYTES]
    cdef size_t length
    cdef const char *said = RedisModule_CallReplyStringPtr(reply, &length)
    cdef bint is_error = RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_ERROR
    if is_error:
        snprintf(text, sizeof(text), "%.*s", <int>length, said)
    else:
        snprintf(text, sizeof(text), "NOPERM %.*s", <int>length, said)
    if strncmp(text, "NOPERM This user", 16) == 0:
        text[7] = c"t"      # as Redis 7.0 has it
    RedisModule_FreeCallReply(reply)
    return RedisModule_ReplyWithError(ctx, text)


cdef inline bint says_unknown(const char *said, size_t length) noexcept nogil:
    cdef const char *ending = "not found"
    return length > strlen(ending) and strncmp(said + length - strlen(ending), ending, strlen(ending)) == 0


cdef inline RedisModuleCallReply *try_run(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """What Redis would refuse the command with before it runs; NULL: nothing, or nobody knows whose command it is."""
    cdef RedisModuleUser *user = current_user(ctx)
    cdef RedisModuleString *name
    cdef RedisModuleCallReply *reply
    cdef const char *said
    cdef size_t length
    if user == NULL:
        return NULL
    RedisModule_FreeModuleUser(user)
    name = RedisModule_GetCurrentUserName(ctx)
    reply = RedisModule_Call(ctx, "ACL", "csv", b"DRYRUN", name, argv, <size_t>argc)
    RedisModule_FreeString(ctx, name)
    if reply == NULL:
        return NULL
    said = RedisModule_CallReplyStringPtr(reply, &length)
    # A command that this server does not have may be one of others, and known to who answers for it.
    if said != NULL and not (length == 2 and strncmp(said, "OK", 2) == 0) and not says_unknown(said, length):
        return reply
    RedisModule_FreeCallReply(reply)
    return NULL


cdef inline bint is_denied(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """For a command of ours that answers for the one in its arguments, and to which Redis lets everybody come. True:
    the user may not run that one in any case, and Redis's own words have been replied.
    """
    cdef RedisModuleCallReply *denial
    if argc < 2:
        RedisModule_WrongArity(ctx)
        return True
    denial = try_run(ctx, &argv[1], argc - 1)
    if denial != NULL:
        reply_denial(ctx, denial)
    return denial != NULL
