# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Who may ask, where a command of ours replies in the place of one of Redis's. Used by members and masters.

A user needs the ACL rights to Redis's command. The replacing one should need no rights of its own, but Redis lets
everybody run a command without required rights, even before a login. Where the default user has a password, a module
cannot tell whether a client has logged in. There the user also needs the rights to the replacing command.
"""

from libc.stdio cimport snprintf
from libc.string cimport memcmp, strlen

from modules.bindings.libc cimport EINVAL, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_ACL_LOG_CMD, REDISMODULE_OK, REDISMODULE_REPLY_ARRAY, RedisModuleCallReply, RedisModuleCtx,
    RedisModuleString, RedisModuleUser, RedisModule_ACLAddLogEntry, RedisModule_ACLCheckCommandPermissions,
    RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyType, RedisModule_CreateString,
    RedisModule_FreeModuleUser, RedisModule_FreeString, RedisModule_ReplyWithError, RedisModule_StringPtrLen,
)
from modules.server.acl cimport current_user, current_user_name
from modules.server.command_table cimport has_word
from modules.server.redis_calls cimport drop_reply


cdef enum:
    MOST_WORDS = 10             # of a command whose permission is asked for


cdef enum Entrance:
    ENTRANCE_OPEN               # clients that have not logged in are the default user, which needs no password
    ENTRANCE_NAMED              # the default user is off: a client of that name has not logged in
    ENTRANCE_PASSWORD           # a client of the default user may have logged in or not; a module cannot tell


cdef inline Entrance entrance(RedisModuleCtx *ctx) noexcept nogil:
    """This calls ACL, which the caller's command filter sees."""
    cdef RedisModuleCallReply *user = RedisModule_Call(ctx, "ACL", "cc", b"GETUSER", b"default")
    cdef RedisModuleCallReply *flags
    cdef Entrance found = ENTRANCE_PASSWORD
    if user != NULL and RedisModule_CallReplyType(user) == REDISMODULE_REPLY_ARRAY:
        flags = RedisModule_CallReplyArrayElement(user, 1)
        if has_word(flags, "off"):
            found = ENTRANCE_NAMED
        elif has_word(flags, "nopass"):
            found = ENTRANCE_OPEN
    drop_reply(user)
    return found


cdef inline bint has_name(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the client has logged in as another user than the default one, or needs no login."""
    cdef RedisModuleString *name = current_user_name(ctx)
    cdef const char *bytes
    cdef size_t length
    cdef bint default
    if name == NULL:
        return True
    bytes = RedisModule_StringPtrLen(name, &length)
    default = length == 7 and memcmp(bytes, b"default", 7) == 0
    RedisModule_FreeString(NULL, name)
    return not default


cdef inline int denial(RedisModuleUser *user, RedisModuleString *command) noexcept nogil:
    """Returns 0 if the user may run the command with some arguments, else the server's reason, an errno.

    Some servers, such as Redis 8.0 with the mends of 2025, judge only a command with enough arguments: it gets more and
    more of them, and what they are does not matter here.
    """
    cdef RedisModuleString *words[MOST_WORDS]
    cdef int count
    for count in range(MOST_WORDS):
        words[count] = command
        if RedisModule_ACLCheckCommandPermissions(user, words, count + 1) == REDISMODULE_OK:
            return 0
        if errno != EINVAL:
            return errno
    return EINVAL


cdef inline bint may_ask(RedisModuleCtx *ctx, const char *command) noexcept nogil:
    """Returns whether the client's user may run `command`. If not, replies the error that Redis gives, and logs it in
    Redis's ACL log.
    """
    cdef RedisModuleString *asked = RedisModule_CreateString(NULL, command, strlen(command))
    cdef RedisModuleUser *user = current_user(ctx)
    cdef char text[96]
    cdef bint allowed = user == NULL or denial(user, asked) == 0
    if not allowed:
        RedisModule_ACLAddLogEntry(ctx, user, asked, REDISMODULE_ACL_LOG_CMD)
        snprintf(text, sizeof(text), "NOPERM this user has no permissions to run the '%s' command", command)
        RedisModule_ReplyWithError(ctx, text)
    if user != NULL:
        RedisModule_FreeModuleUser(user)
    RedisModule_FreeString(NULL, asked)
    return allowed
