# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What the other rooms use of modules/member/event_loop: the functions are defined in the files named here."""

from modules.bindings.redismodule cimport RedisModuleCtx

# tick.pxi
cdef extern void on_tick(RedisModuleCtx *ctx, void *data) noexcept nogil

# server_events.pxi
cdef extern bint subscribe_events(RedisModuleCtx *ctx) noexcept nogil
