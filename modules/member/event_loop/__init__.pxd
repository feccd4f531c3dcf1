# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What the other rooms use of modules/member/event_loop: the functions are defined in the files named here."""

from libc.stdint cimport uint64_t

from modules.bindings.redismodule cimport (
    RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleEvent, RedisModuleInfoCtx, RedisModuleString,
)

# tick.pxi
cdef extern void on_tick(RedisModuleCtx *ctx, void *data) noexcept nogil

# server_events.pxi
cdef extern void on_event_loop(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t when, void *data) noexcept nogil
cdef extern void on_client_change(
    RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_flush(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern int on_key_gone(
    RedisModuleCtx *ctx, int kind, const char *event, RedisModuleString *key) noexcept nogil
cdef extern void on_loading(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_master_link(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_native_role(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_config(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_shutdown(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_module_change(
    RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil
cdef extern void on_command(RedisModuleCommandFilterCtx *command) noexcept nogil
cdef extern void on_info(RedisModuleInfoCtx *info, int for_crash_report) noexcept nogil
