# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/clients that other rooms call. Each is defined in the file named above it."""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleInfoCtx, RedisModuleString
from modules.member.state.member cimport Member

# checkpoint_commands.pxi
cdef extern const char *mode_name(long long mode) noexcept nogil
cdef extern int tail_checkpoint_command(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int head_flush_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int list_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int chain_page_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int chain_checkpoint_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int chain_flush_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil

# direct_clients.pxi
cdef extern void direct_tick(Member *m) noexcept nogil
cdef extern void direct_wake(Member *m) noexcept nogil
cdef extern void direct_client_gone(Member *m, int64_t id) noexcept nogil

# direct_requests.pxi
cdef extern void serve_direct(Member *m) noexcept nogil
cdef extern void reply_directly(Member *m) noexcept nogil
cdef extern void info_direct(const Member *m, RedisModuleInfoCtx *info) noexcept nogil
cdef extern int may_write_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# reads.pxi
cdef extern void settle_reads(Member *m) noexcept nogil
cdef extern int read_command(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil

# native_wait.pxi
cdef extern int on_native_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int on_native_wait_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# numbered_writes.pxi
cdef extern int numbered_command(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil

# once.pxi
cdef extern int once_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int kept_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int once_keys(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# view_question.pxi
cdef extern int view_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern void settle_view_questions(Member *m) noexcept nogil

# writes.pxi
cdef extern int write_command(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil
cdef extern void serve_held(Member *m) noexcept nogil
cdef extern int wait_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
