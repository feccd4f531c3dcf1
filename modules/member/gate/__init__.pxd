# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/gate that other rooms call. Each is defined in the file named above it.

The numbers that decide what the gate sends are in `GateShared`; call `gate_wake` after one of them has moved.
"""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleClientInfo, RedisModuleCtx, RedisModuleInfoCtx
from modules.member.state.member cimport Member

# clients.pxi
cdef extern void gate_client_connected(Member *m, const RedisModuleClientInfo *client) noexcept nogil
cdef extern void gate_client_gone(Member *m, int64_t id) noexcept nogil
cdef extern int gate_exempt(Member *m, int fd) noexcept nogil
cdef extern void gate_exempt_no_more(Member *m, int local_port) noexcept nogil
cdef extern int unheld_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern void gate_settle(Member *m) noexcept nogil

# server_loop.pxi
cdef extern bint gate_find_loop(Member *m, int fd) noexcept nogil
cdef extern bint gate_limit_events(Member *m, int fd, unsigned int events) noexcept nogil
cdef extern bint gate_take_socket(Member *m, int fd) noexcept nogil
cdef extern void gate_return_socket(Member *m, int64_t id, int fd) noexcept nogil

# swap.pxi
cdef extern int gate_shortcut(Member *m, int fd) noexcept nogil

# control.pxi
cdef extern bint gate_start(Member *m, bint holds) noexcept nogil
cdef extern void gate_wake(Member *m) noexcept nogil
cdef extern void gate_attend(Member *m) noexcept nogil
cdef extern void gate_era(Member *m) noexcept nogil
cdef extern void gate_close_clients(Member *m) noexcept nogil
cdef extern void gate_set_hold_timeout(Member *m, int64_t ms) noexcept nogil
cdef extern void gate_stop(Member *m) noexcept nogil
cdef extern void gate_leave(Member *m) noexcept nogil

# info.pxi
cdef extern void info_gate(const Member *m, RedisModuleInfoCtx *info) noexcept nogil
