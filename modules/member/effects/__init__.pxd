# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/effects that other rooms call. Each is defined in the file named above it."""

from libc.stdint cimport int64_t

from modules.bindings.libssl cimport SSL
from modules.bindings.pthread cimport pthread_t
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.member.state.member cimport Member
from modules.server.proven_connection cimport Caller

cdef struct Copy:
    Caller caller               # of the old tail
    pthread_t thread
    int own_fd                  # the connection of our own server
    SSL *own_ssl                # of that; NULL: without TLS
    int quiet_s                 # the copy fails when nothing moves for so long
    char version[32]            # of our own server, if that is Valkey
    char *buffer
    bint again                  # the tail cannot begin at the moment
    bint good
    int64_t over                # published when the thread has set `good` and, without it, the error
    bint reported               # the main thread knows of the end

# tap.pxi
cdef extern int tap_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern void tap_tick(Member *m) noexcept nogil

# pseudo_master.pxi
cdef extern bint pseudo_master_listen(Member *m) noexcept nogil
cdef extern void pseudo_master_tick(Member *m) noexcept nogil
cdef extern void cover_log(Member *m) noexcept nogil
cdef extern void feed_server(Member *m) noexcept nogil

# copy_relay.pxi
cdef extern bint copy_is_asked_for(const Member *m) noexcept nogil
cdef extern bint copy_begin(Member *m) noexcept nogil
cdef extern bint copy_has_begun(const Member *m) noexcept nogil
cdef extern bint copy_is_over(const Member *m) noexcept nogil
cdef extern const char *copy_trouble(const Member *m) noexcept nogil
cdef extern void copy_off(Member *m) noexcept nogil
cdef extern void copy_taken(Member *m) noexcept nogil

# server_role.pxi
cdef extern void effects_init(Member *m) noexcept nogil
cdef extern bint follow_self(Member *m) noexcept nogil
cdef extern void follow_while_loading(Member *m) noexcept nogil
cdef extern void let_server_in(Member *m) noexcept nogil
cdef extern void follow_none(Member *m) noexcept nogil
cdef extern void place_server(Member *m, int64_t bytes, int64_t offset) noexcept nogil
cdef extern void effects_step(Member *m) noexcept nogil
cdef extern void effects_begin(Member *m) noexcept nogil

# output.pxi
cdef extern void note_commits(Member *m) noexcept nogil
