# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What CLIENT LIST tells of the server's clients: their descriptors, and whether replies are waiting to be sent.

from libc.stdio cimport snprintf
from libc.stdlib cimport strtol
from libc.string cimport memchr, strlen, strstr

from modules.bindings.redismodule cimport RedisModuleCallReply, RedisModule_Call, RedisModule_CallReplyStringPtr
from modules.server.redis_calls cimport drop_reply

cdef enum:
    LINE_BYTES = 1024           # of CLIENT LIST, as far as the field `oll`


cdef struct ServerClient:
    int64_t id
    int fd                      # -1: there is no such client
    bint has_output             # the server has written replies that it has not sent yet
    bint replicates             # the connection of a replica or of a master


cdef struct ClientList:
    RedisModuleCallReply *reply
    const char *next            # what has not been read yet
    size_t length


cdef long number_after(const char *line, const char *name) noexcept nogil:
    """The value after `name`, such as " fd=". Returns -1 if the line has no such field."""
    cdef const char *found = strstr(line, name)
    return strtol(found + strlen(name), NULL, 10) if found != NULL else -1


cdef void list_begin(ClientList *list, RedisModuleCallReply *reply) noexcept nogil:
    """reply: of CLIENT LIST; NULL: an empty list. `list_end` frees it."""
    list.reply = reply
    list.length = 0
    list.next = RedisModule_CallReplyStringPtr(reply, &list.length) if reply != NULL else NULL


cdef bint list_next(ClientList *list, ServerClient *out) noexcept nogil:
    """Read the next client. Returns False if there is none."""
    cdef char line[LINE_BYTES]
    cdef const char *flags
    cdef const char *end = NULL
    if list.next != NULL:
        end = <const char *>memchr(list.next, c"\n", list.length)
    if end == NULL:
        return False
    snprintf(line, LINE_BYTES, "%.*s", <int>min(<size_t>(end - list.next), <size_t>LINE_BYTES - 1), list.next)
    list.length -= <size_t>(end + 1 - list.next)
    list.next = end + 1
    flags = strstr(line, " flags=")
    out.id = number_after(line, "id=")
    out.fd = <int>number_after(line, " fd=")
    out.has_output = number_after(line, " obl=") > 0 or number_after(line, " oll=") > 0
    out.replicates = flags != NULL and (flags[7] == c"S" or flags[7] == c"M")
    return True


cdef void list_end(ClientList *list) noexcept nogil:
    drop_reply(list.reply)


cdef bint server_client(Member *m, int64_t id, ServerClient *out) noexcept nogil:
    """Ask for one client, which also makes Redis remember its address. Returns False if it is gone."""
    cdef ClientList list
    cdef bint found
    list_begin(&list, RedisModule_Call(m.ctx, "CLIENT", "ccl", b"LIST", b"ID", <long long>id))
    found = list_next(&list, out)
    list_end(&list)
    return found and out.fd >= 0


cdef int gate_descriptor_of(Member *m, int64_t client) noexcept nogil:
    """Returns the number of the server's descriptor for a client; -1: there is no such client."""
    cdef ServerClient found
    return found.fd if server_client(m, client, &found) else -1
