# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/etcd_heartbeat that other rooms call. Each is defined in the file named above it."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.member.state.member cimport Member

# command.pxi
cdef extern bint heartbeat_init(Member *m) noexcept nogil
cdef extern void heartbeat_resume(Member *m) noexcept nogil
cdef extern int connect_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
