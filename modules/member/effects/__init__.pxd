# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/effects that other rooms call. Each is defined in the file named above it."""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.member.state.member cimport Member

# tap.pxi
cdef extern int tap_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern void tap_tick(Member *m) noexcept nogil

# pseudo_master.pxi
cdef extern bint pseudo_master_listen(Member *m) noexcept nogil
cdef extern void cover_log(Member *m) noexcept nogil
cdef extern void feed_server(Member *m) noexcept nogil

# server_role.pxi
cdef extern void effects_init(Member *m) noexcept nogil
cdef extern bint follow_self(Member *m) noexcept nogil
cdef extern void place_server(Member *m, int64_t bytes, int64_t offset) noexcept nogil
cdef extern void effects_step(Member *m) noexcept nogil
cdef extern void effects_begin(Member *m) noexcept nogil

# output.pxi
cdef extern void note_commits(Member *m) noexcept nogil
