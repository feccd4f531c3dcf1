# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# MEMBER.CONNECT_TO_MASTER names the master of this member, and starts heartbeats for a master in etcd.
#
# The member has no Python interpreter. libheartbeat.so, which sends heartbeats, has one, and only this file opens it.
# Opening it and connecting to etcd take time, so a thread does both (rule 8).

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strcpy, strlen, strrchr
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlerror, dlopen, dlsym

from modules.bindings.libc cimport Dl_info, PATH_MAX, dladdr, memrchr, realpath
from modules.bindings.pthread cimport pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, pthread_t
from modules.bindings.redismodule cimport (
    RedisModuleBlockedClient, RedisModuleCtx, RedisModuleServerInfoData, RedisModuleString, RedisModule_BlockClient,
    RedisModule_CreateString, RedisModule_FreeServerInfo, RedisModule_FreeString,
    RedisModule_GetBlockedClientPrivateData, RedisModule_GetServerInfo, RedisModule_Log,
    RedisModule_RedactClientCommandArgument, RedisModule_ReplyWithError, RedisModule_ReplyWithSimpleString,
    RedisModule_ServerInfoGetFieldUnsigned, RedisModule_StringPtrLen, RedisModule_UnblockClient,
)
from modules.core.view cimport HOST_BYTES
from modules.member.persistence cimport marker_note_master
from modules.member.replication cimport Text, argument_text, text_copy, text_number
from modules.member.replies cimport may_block
from modules.member.state.heartbeat cimport Heartbeat, MASTER_IN_ETCD
from modules.member.state.heartbeat_plugin cimport Connect, ORDER_TEXT_BYTES, Order, WHY_BYTES
from modules.member.state.member cimport Member, the_member
from modules.server.threads cimport thread_start


cdef enum:
    MOST_CONNECTING = 64        # commands at the same time: each has a thread


cdef struct Connecting:
    # One MEMBER.CONNECT_TO_MASTER while a thread carries it out; `client` NULL: a restarted member's own order.
    Order order
    bint good
    RedisModuleBlockedClient *client
    Member *m


cdef bint heartbeat_init(Member *m) noexcept nogil:
    """Find libheartbeat.so beside libmember.so. Returns False if that fails.

    Called when the module is loaded, because the path may be relative and the working directory may change later.
    """
    cdef const char *name = "libheartbeat.so"
    cdef Dl_info here
    cdef char path[PATH_MAX]
    cdef size_t folder_bytes
    pthread_mutex_init(&m.heartbeat.mutex, NULL)
    snprintf(m.heartbeat.state, sizeof(m.heartbeat.state), "none")
    if not dladdr(<void *>heartbeat_init, &here) or realpath(here.dli_fname, path) == NULL:
        return False
    folder_bytes = strrchr(path, c"/") + 1 - path
    m.heartbeat.library = <char *>malloc(folder_bytes + strlen(name) + 1)
    if m.heartbeat.library == NULL:
        return False
    memcpy(m.heartbeat.library, path, folder_bytes)
    strcpy(m.heartbeat.library + folder_bytes, name)
    return True


# ---------------------------------------------------------------------------- called by threads of libheartbeat.so

cdef void heartbeat_log(const char *level, const char *line) noexcept nogil:
    RedisModule_Log(the_member().ctx, level, "%s", line)


cdef void heartbeat_show(const char *state, const char *leader) noexcept nogil:
    cdef Heartbeat *heartbeat = &the_member().heartbeat
    pthread_mutex_lock(&heartbeat.mutex)
    snprintf(heartbeat.state, sizeof(heartbeat.state), "%s", state)
    snprintf(heartbeat.leader, sizeof(heartbeat.leader), "%s", leader)
    pthread_mutex_unlock(&heartbeat.mutex)


# ------------------------------------------------------------------------------------------------ on a thread

cdef bint order_heartbeats(Order *order, const char *library) noexcept nogil:
    """Open libheartbeat.so and give it the order. Returns False with the reason in `order.why`."""
    cdef void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL)
    cdef Connect connect = NULL
    if handle != NULL:
        connect = <Connect>dlsym(handle, "heartbeat_connect")
    if connect == NULL:
        snprintf(order.why, sizeof(order.why), "libheartbeat.so belongs beside libmember.so: %s", dlerror())
        return False
    return connect(order)


cdef void *carry_out(void *argument) noexcept nogil:
    cdef Connecting *connecting = <Connecting *>argument
    connecting.good = order_heartbeats(&connecting.order, connecting.m.heartbeat.library)
    if connecting.client != NULL:
        RedisModule_UnblockClient(connecting.client, connecting)
        return NULL
    if not connecting.good:     # `heartbeat_resume`: no client waits for an answer
        heartbeat_show(connecting.order.why, "")
        heartbeat_log("warning", connecting.order.why)
    free(connecting)
    return NULL


# ----------------------------------------------------------------------------------------- on the main thread

cdef int on_connected(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef Connecting *connecting = <Connecting *>RedisModule_GetBlockedClientPrivateData(ctx)
    cdef Member *m = connecting.m
    cdef char text[WHY_BYTES + 4]
    if not connecting.good:
        snprintf(text, sizeof(text), "ERR %s", &connecting.order.why[0])
        return RedisModule_ReplyWithError(ctx, text)
    snprintf(m.heartbeat.master, sizeof(m.heartbeat.master), "%s", &connecting.order.url[0])
    snprintf(m.heartbeat.etcd, sizeof(m.heartbeat.etcd), "%s", &connecting.order.url[0])
    marker_note_master(m)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef void free_connecting(RedisModuleCtx *ctx, void *connecting) noexcept nogil:
    (<Connecting *>connecting).m.heartbeat.connecting -= 1
    free(connecting)


cdef bint copy_text(char *out, const RedisModuleString *string) noexcept nogil:
    """Copy the string, NUL-terminated. Returns False if it is too long for `out` or contains a NUL."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(string, &length)
    cdef size_t i
    if length >= ORDER_TEXT_BYTES:
        return False
    for i in range(length):
        if bytes[i] == 0:
            return False
    memcpy(out, bytes, length)
    out[length] = 0
    return True


cdef bint write_order(Member *m, RedisModuleCtx *ctx, RedisModuleString *url, Order *order) noexcept nogil:
    """Fill in the order from this member's settings. Returns False if a text is too long."""
    cdef RedisModuleServerInfoData *server = RedisModule_GetServerInfo(ctx, "server")
    order.port = <int>RedisModule_ServerInfoGetFieldUnsigned(server, "tcp_port", NULL)
    RedisModule_FreeServerInfo(ctx, server)
    memcpy(order.run_id, m.self.run_id, sizeof(order.run_id))
    order.interval_s = <int>m.settings.heartbeat_interval
    order.timeout_s = <int>m.settings.heartbeat_timeout
    order.pulse = &m.heartbeat.pulse
    order.log = heartbeat_log
    order.show = heartbeat_show
    return (
        copy_text(order.url, url)
        and copy_text(order.user, m.settings.etcd_user)
        and copy_text(order.password, m.settings.etcd_password.value.text)
        and copy_text(order.ca, m.settings.etcd_ca)
        and copy_text(order.cert, m.settings.etcd_cert)
        and copy_text(order.key, m.settings.etcd_key)
        and copy_text(order.announce_host, m.settings.announce_host)
    )


cdef int connect_to_etcd(Member *m, RedisModuleCtx *ctx, RedisModuleString *url) noexcept nogil:
    cdef Connecting *connecting = NULL
    cdef pthread_t thread
    if m.heartbeat.connecting < MOST_CONNECTING:
        connecting = <Connecting *>calloc(1, sizeof(Connecting))
    if connecting == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR too many of these commands at once: try again")
    connecting.m = m
    if not may_block(ctx) or not write_order(m, ctx, url, &connecting.order):
        free(connecting)
        return RedisModule_ReplyWithError(
            ctx, "ERR the URL or a setting member.etcd-* is too long; or this is inside MULTI or a script")
    m.heartbeat.connecting += 1
    connecting.client = RedisModule_BlockClient(ctx, on_connected, NULL, free_connecting, 0)
    if not thread_start(&thread, carry_out, connecting, True):
        snprintf(connecting.order.why, sizeof(connecting.order.why), "no thread can be started")
        RedisModule_UnblockClient(connecting.client, connecting)
    return 0


cdef void heartbeat_resume(Member *m) noexcept nogil:
    """After a restart, send heartbeats to the master that the identity file names, with the present settings.

    `libmember.so 0` prevents it.
    """
    cdef Connecting *connecting
    cdef RedisModuleString *url
    cdef pthread_t thread
    cdef const char *known = m.disk.marker.master
    if m.settings.master_type != MASTER_IN_ETCD or not known[0] or m.heartbeat.master[0]:
        return
    connecting = <Connecting *>calloc(1, sizeof(Connecting))
    if connecting == NULL:
        return
    connecting.m = m
    snprintf(m.heartbeat.master, sizeof(m.heartbeat.master), "%s", known)
    snprintf(m.heartbeat.etcd, sizeof(m.heartbeat.etcd), "%s", known)
    url = RedisModule_CreateString(NULL, known, strlen(known))
    if not write_order(m, m.ctx, url, &connecting.order) or not thread_start(&thread, carry_out, connecting, True):
        heartbeat_show("the heartbeats cannot begin again: MEMBER.CONNECT_TO_MASTER says why", "")
        free(connecting)
    RedisModule_FreeString(NULL, url)


cdef bint parse_address(RedisModuleString **argv, int argc, char *host, int64_t *port) noexcept nogil:
    """Read `host:port`, or host and port as two arguments. Returns False if they are not valid."""
    cdef Text name
    cdef Text number
    cdef const char *colon
    argument_text(argv[1], &name)
    if argc == 3:
        argument_text(argv[2], &number)
    else:
        colon = <const char *>memrchr(name.bytes, c":", name.length)
        if colon == NULL:
            return False
        number.bytes = colon + 1
        number.length = name.bytes + name.length - number.bytes
        name.length = colon - name.bytes
    return text_copy(&name, host, HOST_BYTES) and text_number(&number, port) and 1 <= port[0] <= 65535


cdef int connect_to_plain(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Note the address of a plain master for INFO. Nothing is sent: a plain master connects to its members."""
    cdef char host[HOST_BYTES]
    cdef int64_t port
    if not parse_address(argv, argc, host, &port):
        return RedisModule_ReplyWithError(
            ctx, "ERR that is no host:port of a plain master; for a master in etcd, load libmember.so 1")
    snprintf(m.heartbeat.master, sizeof(m.heartbeat.master), "%s:%d", host, <int>port)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef bint hide_credentials(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Keep credentials in the URL out of SLOWLOG. Returns whether there are any, which is an error."""
    cdef Text text
    cdef bint found = False
    cdef int i
    for i in range(1, argc):
        argument_text(argv[i], &text)
        if memrchr(text.bytes, c"@", text.length) != NULL:
            RedisModule_RedactClientCommandArgument(ctx, i)
            found = True
    return found


cdef int connect_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.CONNECT_TO_MASTER host:port | host port | etcd_host:etcd_port[,…]/chain_name -> OK | ERR"""
    if hide_credentials(ctx, argv, argc):
        return RedisModule_ReplyWithError(
            ctx, "ERR no user and password here: give them as member.etcd-user and member.etcd-password")
    if m.settings.master_type != MASTER_IN_ETCD:
        return connect_to_plain(m, ctx, argv, argc)
    if argc != 2:
        return RedisModule_ReplyWithError(ctx, "ERR for a master in etcd: host:port[,host:port...]/chain_name")
    return connect_to_etcd(m, ctx, argv[1])
