# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""ACL checks of our commands that Redis does not make itself. Used by members and masters."""

from libc.stdio cimport snprintf
from libc.string cimport strlen, strncmp, strstr

from modules.bindings.libc cimport ENOTSUP, clear_errno, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_ACL_LOG_CMD, REDISMODULE_ACL_LOG_KEY, REDISMODULE_OK, REDISMODULE_REPLY_ERROR,
    RedisModule_ACLAddLogEntry, RedisModule_ACLCheckCommandPermissions, RedisModule_Call,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_CreateString, RedisModule_FreeCallReply,
    RedisModule_FreeModuleUser, RedisModule_FreeString, RedisModule_GetApi, RedisModule_GetCurrentUserName,
    RedisModule_GetModuleUserACLString, RedisModule_GetModuleUserFromUserName, RedisModule_ReplyWithError,
    RedisModule_StringPtrLen, RedisModule_WrongArity, RedisModuleACLLogEntryReason, RedisModuleCallReply,
    RedisModuleCtx, RedisModuleString, RedisModuleUser,
)

cdef enum:
    DENIAL_BYTES = 512


cdef inline RedisModuleString *current_user_name(RedisModuleCtx *ctx) noexcept nogil:
    """Returns the name of the client's user, to be freed. NULL: there is none, and everything is allowed: another
    module calls, or what Redis's replication sends is carried out.

    Redis 7.0 ends when it is asked for the name then. So the server is first told to call something in that user's
    name. It looks for the user, and then finds that the call has no valid form.
    """
    clear_errno()
    RedisModule_Call(ctx, "PING", "C?")
    return NULL if errno == ENOTSUP else RedisModule_GetCurrentUserName(ctx)


cdef inline RedisModuleUser *current_user(RedisModuleCtx *ctx) noexcept nogil:
    """Returns the client's user, to be freed with RedisModule_FreeModuleUser. NULL: there is none, and everything is
    allowed.
    """
    cdef RedisModuleString *name = current_user_name(ctx)
    cdef RedisModuleUser *user
    if name == NULL:
        return NULL
    user = RedisModule_GetModuleUserFromUserName(name)
    RedisModule_FreeString(ctx, name)
    return user


cdef inline bint may_run(
    RedisModuleUser *user, const char *first, const char *second, const char *third,
) noexcept nogil:
    """Returns whether the user may run a command of one to three words. The words after the command's last are NULL."""
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
    """Returns whether this Redis has ACL categories for commands of modules (7.2 and later). Redis then checks them
    itself.
    """
    cdef void *function = NULL
    return RedisModule_GetApi("RedisModule_SetCommandACLCategories", &function) == REDISMODULE_OK


cdef inline bint may_administer(RedisModuleCtx *ctx, const char *marker, const char *command) noexcept nogil:
    """Returns whether the client may run an administrative command of ours. If not, replies an error.

    In Redis 7.0 the commands of modules are in no category, so `-@admin` and `-@dangerous` do not remove them. `marker`
    is a command that nobody is given by name: a user who may run it has +@all. If such a user may not run REPLICAOF,
    the categories @admin and @dangerous were removed.
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
    """Returns whether the client may read all keys. If not, replies an error."""
    cdef RedisModuleUser *user = current_user(ctx)
    cdef RedisModuleString *rules
    cdef const char *text
    cdef const char *found
    cdef const char *selectors
    if user == NULL:
        return True
    rules = RedisModule_GetModuleUserACLString(user)
    text = RedisModule_StringPtrLen(rules, NULL)
    selectors = strstr(text, " (")      # keys that selectors add are ignored
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


cdef inline bint has_free_hand(const char *name) noexcept nogil:
    """Returns whether the user of this name may run MEMBER.PUT, MEMBER.DEL and READ for all keys and all channels."""
    cdef RedisModuleString *user_name = RedisModule_CreateString(NULL, name, strlen(name))
    cdef RedisModuleUser *user = RedisModule_GetModuleUserFromUserName(user_name)
    cdef RedisModuleString *rules = NULL
    cdef const char *text
    cdef const char *keys
    cdef const char *channels
    cdef const char *selectors
    cdef bint free_hand = False
    RedisModule_FreeString(NULL, user_name)
    if user == NULL:
        return False
    rules = RedisModule_GetModuleUserACLString(user)
    text = RedisModule_StringPtrLen(rules, NULL)
    selectors = strstr(text, " (")      # what selectors add is ignored
    keys = strstr(text, " ~* ")
    channels = strstr(text, " &* ")
    free_hand = (
        keys != NULL and channels != NULL and (selectors == NULL or (keys < selectors and channels < selectors))
        and may_run(user, "MEMBER.PUT", "k", "v") and may_run(user, "MEMBER.DEL", "k", NULL)
        and may_run(user, "READ", "k", NULL))
    RedisModule_FreeString(NULL, rules)
    RedisModule_FreeModuleUser(user)
    return free_hand


cdef inline int reply_denial(RedisModuleCtx *ctx, RedisModuleCallReply *reply) noexcept nogil:
    """Reply Redis's refusal of a command, in the words that Redis uses when the command itself is refused. Frees
    `reply`.
    """
    cdef char text[DENIAL_BYTES]
    cdef size_t length
    cdef const char *said = RedisModule_CallReplyStringPtr(reply, &length)
    cdef bint is_error = RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_ERROR
    if is_error:
        snprintf(text, sizeof(text), "%.*s", <int>length, said)
    else:
        snprintf(text, sizeof(text), "NOPERM %.*s", <int>length, said)
    if strncmp(text, "NOPERM This user", 16) == 0:
        text[7] = c"t"      # the spelling of Redis 7.0
    RedisModule_FreeCallReply(reply)
    return RedisModule_ReplyWithError(ctx, text)


cdef inline bint says_unknown(const char *said, size_t length) noexcept nogil:
    cdef const char *ending = "not found"
    return length > strlen(ending) and strncmp(said + length - strlen(ending), ending, strlen(ending)) == 0


cdef inline RedisModuleCallReply *try_run(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Returns the reply with which Redis would refuse the command before it runs. NULL: it would not, or the user is
    unknown.
    """
    cdef RedisModuleString *name = current_user_name(ctx)
    cdef RedisModuleCallReply *reply
    cdef const char *said
    cdef size_t length
    if name == NULL:
        return NULL
    reply = RedisModule_Call(ctx, "ACL", "csv", b"DRYRUN", name, argv, <size_t>argc)
    RedisModule_FreeString(ctx, name)
    if reply == NULL:
        return NULL
    said = RedisModule_CallReplyStringPtr(reply, &length)
    # A user may be unknown. A command that this server does not have may be one that our command knows.
    if said != NULL and not (length == 2 and strncmp(said, "OK", 2) == 0) and not says_unknown(said, length):
        return reply
    RedisModule_FreeCallReply(reply)
    return NULL


cdef inline bint is_denied(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Check a command that one of ours replies to in its place, since everybody may run ours.

    Returns whether the user may not run the command in the arguments. Then Redis's error has been replied.
    """
    cdef RedisModuleCallReply *denial
    if argc < 2:
        RedisModule_WrongArity(ctx)
        return True
    denial = try_run(ctx, &argv[1], argc - 1)
    if denial != NULL:
        reply_denial(ctx, denial)
    return denial != NULL
