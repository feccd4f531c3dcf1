# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/startup that other rooms call. Each is defined in the file named above it."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.member.state.member cimport Member

# aof_replay.pxi
cdef extern int replay_misread(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int record_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int place_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int executed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# aof_cut.pxi
cdef extern bint cut_unrecorded(Member *m) noexcept nogil

# rdb_position.pxi
cdef extern bint snapshot_register(RedisModuleCtx *ctx) noexcept nogil

# settings.pxi
cdef extern bint config_register(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern bint kind_is_possible(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern bint config_arguments(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# startup.pxi
cdef extern void start_up(Member *m) noexcept nogil
