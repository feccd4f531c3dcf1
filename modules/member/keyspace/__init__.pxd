# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What other rooms call of modules/member/keyspace. The functions are defined, and documented, in the files named here.
"""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport (
    RedisModuleCommandFilterCtx, RedisModuleConfigChange, RedisModuleCtx, RedisModuleString,
)
from modules.member.state.member cimport Member

# redis_role.pxi
cdef extern bint is_logged_in(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int on_role(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_role_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_info_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_info_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# command_filter.pxi
cdef extern bint filter_build(Member *m) noexcept nogil
cdef extern void note_modules(Member *m) noexcept nogil
cdef extern void note_unreplicated(Member *m) noexcept nogil
cdef extern void filter_command(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil
cdef extern bint executes_streams(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_refused(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_refused_all(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_refused_pause(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_refused_read(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_refused_rewrite(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern void end_waiting_commands(Member *m, RedisModuleCtx *ctx) noexcept nogil

# caches.pxi
cdef extern void caches_trust(Member *m) noexcept nogil
cdef extern void caches_tick(Member *m) noexcept nogil

# direct_reading.pxi
cdef extern bint paused_lately(const Member *m) noexcept nogil
cdef extern bint permits_direct_reading(Member *m) noexcept nogil

# data_loss.pxi
cdef extern void drop_data(Member *m) noexcept nogil
cdef extern void end_before_loss(Member *m) noexcept nogil

# join_preconditions.pxi
cdef extern bint holds_keys(RedisModuleCtx *ctx) noexcept nogil
cdef extern bint reaches_itself(RedisModuleCtx *ctx, char *why) noexcept nogil
cdef extern bint may_become_chain(RedisModuleCtx *ctx, char *why) noexcept nogil

# redis_settings.pxi
cdef extern void set_redis(Member *m, const char *name, const char *value) noexcept nogil
cdef extern int64_t redis_number(Member *m, const char *name) noexcept nogil
cdef extern void settle_redis_settings(Member *m) noexcept nogil
cdef extern void lend_credentials(Member *m) noexcept nogil
cdef extern void take_back_credentials(Member *m) noexcept nogil
cdef extern bint settings_care(const RedisModuleConfigChange *change) noexcept nogil
cdef extern void settings_step(Member *m) noexcept nogil
