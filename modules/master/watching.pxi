# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Callbacks that Redis calls besides the commands: the command filter, events, INFO.

from libc.stdint cimport uint64_t
from libc.string cimport strncmp

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_OK, REDISMODULE_SUBEVENT_LOADING_ENDED, RedisModuleCommandFilterCtx, RedisModuleConfigChange,
    RedisModuleCtx, RedisModuleEvent, RedisModuleInfoCtx, RedisModuleString, RedisModule_CommandFilterArgGet,
    RedisModule_InfoAddSection, RedisModule_Log, RedisModule_ReplyWithError, RedisModule_StringPtrLen,
)
from modules.master.command_filter cimport filter_build, filter_command, warn_of_keys
from modules.master.info cimport info_show
from modules.server.passwords cimport passwords_filter, strcasecmp, the_passwords
from modules.server.tls cimport TlsSettings, tls_read, tls_replicates


cdef int do_nothing(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """The handler of GIVEN_TO_NOBODY, which exists only for checks of rights (`may_administer`)."""
    return RedisModule_ReplyWithError(ctx, b"ERR there is nothing that this command does")


cdef void on_command(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Redis calls this for each command, before it runs."""
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 0), NULL)
    if strcasecmp(name, "config") == 0 or strcasecmp(name, "exec") == 0:
        passwords_filter(command)
    if master.commands != NULL and not master.sentinel.own_call and not replace_asked(command):
        filter_command(master.commands, command)


cdef void take_tls(RedisModuleCtx *ctx) noexcept nogil:
    """Read the server's `tls-*` settings, by which connections to members are made."""
    cdef TlsSettings settings
    cdef bint replicates = tls_replicates(ctx)
    tls_read(ctx, &settings)
    pthread_mutex_lock(&the_passwords().mutex)
    master.tls = settings
    master.tls_replicates = replicates
    pthread_mutex_unlock(&the_passwords().mutex)


cdef void on_config(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    cdef const RedisModuleConfigChange *change = <const RedisModuleConfigChange *>data
    cdef unsigned int i
    for i in range(change.num_changes):
        if strncmp(change.config_names[i], b"master.", 7) == 0:
            RedisModule_Log(ctx, b"notice", b"CONFIG SET has changed %s", change.config_names[i])
        elif strncmp(change.config_names[i], b"tls-", 4) == 0:
            take_tls(master.ctx)


cdef void show_info(RedisModuleInfoCtx *ctx, int for_crash_report) noexcept nogil:
    if RedisModule_InfoAddSection(ctx, b"") == REDISMODULE_OK:
        info_show(&master.info, ctx, for_crash_report)


cdef void on_module_change(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    filter_build(master.ctx, &master.commands)


cdef void on_loading(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    if what == REDISMODULE_SUBEVENT_LOADING_ENDED:
        warn_of_keys(master.ctx)
