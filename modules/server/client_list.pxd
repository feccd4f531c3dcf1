# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What CLIENT LIST tells of the server's clients: their descriptors, and what is under way between them and the server.

A client's line is read where it is. It may be very long: a client gives itself any name.
"""

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtoll
from libc.string cimport memchr, memcmp, strlen

from modules.bindings.libc cimport memmem
from modules.bindings.redismodule cimport (
    RedisModule_Call, RedisModule_CallReplyStringPtr, RedisModuleCallReply, RedisModuleCtx,
)
from modules.server.redis_calls cimport drop_reply

cdef enum:
    FIELD_BYTES = 128           # of a user's or a command's name; a longer one is not told


cdef struct ServerClient:
    int64_t id
    int fd                      # -1: there is no such client
    bint has_output             # the server has written replies that it has not sent yet
    bint replicates             # the connection of a replica or of a master
    int64_t told                # whom the server tells when keys change that the client has read: 0: itself; -1: nobody
    # The server has carried out all that it has read from the client, and has sent all replies. The client does nothing
    # but send commands of database 0: no transaction, no subscription, no tracking, nothing that blocks it. It may be
    # one that is not to be evicted (flags=e), as members' connections are.
    bint is_at_rest
    bint in_transaction         # it has called MULTI
    bint is_blocked
    bint awaits_room            # the server waits until it can write to the client
    int64_t resp                # the version of the protocol; -1: not known
    char user[FIELD_BYTES]      # empty: not known
    char command[FIELD_BYTES]   # its newest one, with the subcommand; empty: not known


cdef struct ClientList:
    RedisModuleCallReply *reply
    const char *next            # what has not been read yet
    size_t length


cdef struct ClientLine:
    const char *text            # a line's end follows
    size_t length


cdef struct ClientField:
    const char *text            # NULL: the line has no such field
    size_t length


cdef inline ClientField field_of(const ClientLine *line, const char *name) noexcept nogil:
    """The value after `name`, such as " fd=". No value has a space."""
    cdef ClientField field
    cdef const char *end
    field.length = 0
    field.text = <const char *>memmem(line.text, line.length, name, strlen(name))
    if field.text != NULL:
        field.text += strlen(name)
        field.length = line.length - <size_t>(field.text - line.text)
        end = <const char *>memchr(field.text, c" ", field.length)
        if end != NULL:
            field.length = <size_t>(end - field.text)
    return field


cdef inline int64_t number_of(const ClientLine *line, const char *name) noexcept nogil:
    """The same as a number. Returns -1 if the line has no such field."""
    cdef ClientField field = field_of(line, name)
    return strtoll(field.text, NULL, 10) if field.text != NULL else -1


cdef inline bint field_is(const ClientLine *line, const char *name, const char *value) noexcept nogil:
    cdef ClientField field = field_of(line, name)
    return field.text != NULL and field.length == strlen(value) and memcmp(field.text, value, field.length) == 0


cdef inline bint has_flag(const ClientLine *line, char flag) noexcept nogil:
    cdef ClientField flags = field_of(line, " flags=")
    return flags.text != NULL and memchr(flags.text, flag, flags.length) != NULL


cdef inline void copy_field(const ClientLine *line, const char *name, char *out) noexcept nogil:
    """out: has room for FIELD_BYTES."""
    cdef ClientField field = field_of(line, name)
    out[0] = 0
    if field.text != NULL and field.length < FIELD_BYTES:
        snprintf(out, FIELD_BYTES, "%.*s", <int>field.length, field.text)


cdef inline void list_of(ClientList *list, RedisModuleCallReply *reply) noexcept nogil:
    list.reply = reply
    list.length = 0
    list.next = RedisModule_CallReplyStringPtr(reply, &list.length) if reply != NULL else NULL


cdef inline void list_begin(ClientList *list, RedisModuleCtx *ctx) noexcept nogil:
    """Ask for all clients. `list_end` frees the answer."""
    list_of(list, RedisModule_Call(ctx, "CLIENT", "c", b"LIST"))


cdef inline void read_line(const ClientLine *line, ServerClient *out) noexcept nogil:
    out.id = number_of(line, "id=")
    out.fd = <int>number_of(line, " fd=")
    out.has_output = number_of(line, " obl=") > 0 or number_of(line, " oll=") > 0
    out.replicates = has_flag(line, c"S") or has_flag(line, c"M")
    out.told = number_of(line, " redir=")
    out.in_transaction = has_flag(line, c"x")
    out.is_blocked = has_flag(line, c"b")
    out.awaits_room = field_is(line, " events=", "rw")
    out.is_at_rest = (
        (field_is(line, " flags=", "N") or field_is(line, " flags=", "e")) and field_is(line, " db=", "0")
        and field_is(line, " sub=", "0") and field_is(line, " psub=", "0") and field_is(line, " qbuf=", "0")
        and field_is(line, " argv-mem=", "0") and not out.has_output and field_is(line, " events=", "r"))
    out.resp = number_of(line, " resp=")
    copy_field(line, " user=", out.user)
    copy_field(line, " cmd=", out.command)


cdef inline bint list_next(ClientList *list, ServerClient *out) noexcept nogil:
    """Read the next client. Returns False if there is none."""
    cdef ClientLine line
    cdef const char *end = NULL
    if list.next != NULL:
        end = <const char *>memchr(list.next, c"\n", list.length)
    if end == NULL:
        return False
    line.text = list.next
    line.length = <size_t>(end - list.next)
    list.length -= line.length + 1
    list.next = end + 1
    read_line(&line, out)
    return True


cdef inline void list_end(ClientList *list) noexcept nogil:
    drop_reply(list.reply)


cdef inline bint server_client(RedisModuleCtx *ctx, int64_t id, ServerClient *out) noexcept nogil:
    """Ask for one client, which also makes Redis remember its address. Returns False if it is gone."""
    cdef ClientList list
    cdef bint found
    list_of(&list, RedisModule_Call(ctx, "CLIENT", "ccl", b"LIST", b"ID", <long long>id))
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
