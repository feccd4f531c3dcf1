# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/membership that other rooms call. Each is defined in the file named above it."""

from modules.bindings.redismodule cimport RedisModuleConfigChange, RedisModuleCtx, RedisModuleInfoCtx, RedisModuleString
from modules.member.state.member cimport Member

# branch.pxi
cdef extern int branch_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# lifeline.pxi
cdef extern void lifelines_listen(Member *m) noexcept nogil
cdef extern void lifelines_init(Member *m) noexcept nogil
cdef extern bint lifelines_care(const RedisModuleConfigChange *change) noexcept nogil
cdef extern void lifelines_tick(Member *m) noexcept nogil

# fork.pxi
cdef extern bint fork_register() noexcept nogil

# joining.pxi
cdef extern void empty_log(Member *m) noexcept nogil
cdef extern void join_fail_load(Member *m) noexcept nogil
cdef extern void join_on_link_up(Member *m) noexcept nogil
cdef extern void join_save(Member *m) noexcept nogil
cdef extern void fetch_off(Member *m) noexcept nogil
cdef extern void join_step(Member *m) noexcept nogil

# info.pxi
cdef extern void info_chain(Member *m, RedisModuleInfoCtx *info) noexcept nogil

# invariants.pxi
cdef extern void watch_invariants() noexcept nogil

# master_commands.pxi
cdef extern int adopt_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int join_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int rejoin_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int pin_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int copy_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int feed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int unpin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int unjoin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern void join_off(Member *m) noexcept nogil

# status.pxi
cdef extern int state_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int poll_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int watch_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern void settle_watches(Member *m) noexcept nogil
