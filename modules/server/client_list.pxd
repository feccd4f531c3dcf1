# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What CLIENT LIST tells of the server's clients: their descriptors, and what is under way between them and the server.
"""

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtol
from libc.string cimport memchr, strcspn, strlen, strstr

from modules.bindings.redismodule cimport (
    RedisModule_Call, RedisModule_CallReplyStringPtr, RedisModuleCallReply, RedisModuleCtx,
)
from modules.server.redis_calls cimport drop_reply

cdef enum:
    LINE_BYTES = 2048           # of a line; a client whose line is longer lacks the fields at its end
    USER_BYTES = 128            # of a user's name; a longer one is not told


cdef struct ServerClient:
    int64_t id
    int fd                      # -1: there is no such client
    bint has_output             # the server has written replies that it has not sent yet
    bint replicates             # the connection of a replica or of a master
    int64_t told                # whom the server tells when keys change that the client has read: 0: itself; -1: nobody
    # The client does nothing but send commands of database 0 and get their replies: no transaction, no subscription, no
    # tracking, nothing that blocks it. It may be one that is not to be evicted (flags=e), as members' connections are.
    # The server waits to read from it, and not to write to it.
    bint is_plain
    bint is_blocked
    bint awaits_room            # the server waits until it can write to the client
    bint has_input              # the server has read a part of a command
    long resp                   # the version of the protocol; -1: not known
    char user[USER_BYTES]       # empty: not known


cdef struct ClientList:
    RedisModuleCallReply *reply
    const char *next            # what has not been read yet
    size_t length


cdef inline const char *text_after(const char *line, const char *name) noexcept nogil:
    """The value after `name`, such as " fd=". Returns NULL if the line has no such field."""
    cdef const char *found = strstr(line, name)
    return found + strlen(name) if found != NULL else NULL


cdef inline long number_after(const char *line, const char *name) noexcept nogil:
    """The same as a number. Returns -1 if the line has no such field."""
    cdef const char *value = text_after(line, name)
    return strtol(value, NULL, 10) if value != NULL else -1


cdef inline bint says(const char *line, const char *field) noexcept nogil:
    """Does the line have this field with this value, as in " db=0 "?"""
    return strstr(line, field) != NULL


cdef inline void list_begin(ClientList *list, RedisModuleCallReply *reply) noexcept nogil:
    """reply: of CLIENT LIST; NULL: an empty list. `list_end` frees it."""
    list.reply = reply
    list.length = 0
    list.next = RedisModule_CallReplyStringPtr(reply, &list.length) if reply != NULL else NULL


cdef inline void read_line(const char *line, ServerClient *out) noexcept nogil:
    cdef const char *flags = text_after(line, " flags=")
    cdef const char *user = text_after(line, " user=")
    out.id = number_after(line, "id=")
    out.fd = <int>number_after(line, " fd=")
    out.has_output = number_after(line, " obl=") > 0 or number_after(line, " oll=") > 0
    out.replicates = flags != NULL and (flags[0] == c"S" or flags[0] == c"M")
    out.told = number_after(line, " redir=")
    out.is_plain = ((says(line, " flags=N ") or says(line, " flags=e ")) and says(line, " db=0 ")
                    and says(line, " sub=0 ") and says(line, " psub=0 ") and says(line, " multi=-1 ")
                    and says(line, " events=r "))
    out.awaits_room = says(line, " events=rw ")
    out.is_blocked = flags != NULL and memchr(flags, c"b", strcspn(flags, " ")) != NULL
    out.has_input = not says(line, " qbuf=0 ") or not says(line, " argv-mem=0 ")
    out.resp = number_after(line, " resp=")
    out.user[0] = 0
    if user != NULL and strcspn(user, " ") < USER_BYTES:
        snprintf(out.user, USER_BYTES, "%.*s", <int>strcspn(user, " "), user)


cdef inline bint list_next(ClientList *list, ServerClient *out) noexcept nogil:
    """Read the next client. Returns False if there is none."""
    cdef char line[LINE_BYTES]
    cdef const char *end = NULL
    if list.next != NULL:
        end = <const char *>memchr(list.next, c"\n", list.length)
    if end == NULL:
        return False
    snprintf(line, LINE_BYTES, "%.*s", <int>min(<size_t>(end - list.next), <size_t>LINE_BYTES - 1), list.next)
    list.length -= <size_t>(end + 1 - list.next)
    list.next = end + 1
    read_line(line, out)
    return True


cdef inline void list_end(ClientList *list) noexcept nogil:
    drop_reply(list.reply)


cdef inline bint server_client(RedisModuleCtx *ctx, int64_t id, ServerClient *out) noexcept nogil:
    """Ask for one client, which also makes Redis remember its address. Returns False if it is gone."""
    cdef ClientList list
    cdef bint found
    list_begin(&list, RedisModule_Call(ctx, "CLIENT", "ccl", b"LIST", b"ID", <long long>id))
    found = list_next(&list, out)
    list_end(&list)
    return found and out.fd >= 0


cdef inline int server_descriptor(RedisModuleCtx *ctx, int64_t id) noexcept nogil:
    """Returns the number of the server's descriptor for a client; -1: there is no such client."""
    cdef ServerClient found
    return found.fd if server_client(ctx, id, &found) else -1


cdef inline void close_client(RedisModuleCtx *ctx, int64_t id) noexcept nogil:
    """Have the server close the client's connection, if it still stands."""
    drop_reply(RedisModule_Call(ctx, "CLIENT", "ccl", b"KILL", b"ID", <long long>id))
