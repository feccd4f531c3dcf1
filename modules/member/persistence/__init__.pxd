# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What other rooms call of modules/member/persistence. The functions are documented in the files named here."""

from libc.stdint cimport int64_t, uint8_t

from modules.bindings.redismodule cimport RedisModuleConfigChange
from modules.member.state.member cimport Member
from modules.member.state.persistence cimport Marker

cdef enum Rewrite:
    REWRITE_AWAITED
    REWRITE_DONE
    REWRITE_FAILED


# data_position.pxi
cdef extern int64_t server_offset(Member *m) noexcept nogil
cdef extern int64_t data_position(Member *m) noexcept nogil
cdef extern int64_t unlogged_epoch(const Member *m) noexcept nogil

# aof_writer.pxi
cdef extern bint is_record_due(const Member *m) noexcept nogil
cdef extern int64_t recorded_up_to(const Member *m) noexcept nogil
cdef extern void record(Member *m) noexcept nogil

# identity_file.pxi
cdef extern void marker_read(Marker *marker) noexcept nogil
cdef extern void marker_name(Member *m) noexcept nogil
cdef extern bint marker_take(Member *m, const uint8_t *history, int kind) noexcept nogil
cdef extern bint marker_branch(Member *m, const uint8_t *history, int64_t applied) noexcept nogil
cdef extern bint marker_renames(const Member *m, uint8_t *history, int64_t applied) noexcept nogil
cdef extern void marker_note_master(Member *m) noexcept nogil
cdef extern bint marker_void(Member *m, int64_t epoch) noexcept nogil
cdef extern bint is_unknown_chains(const Member *m) noexcept nogil
cdef extern bint marker_vouches(const Member *m) noexcept nogil

# durability.pxi
cdef extern void disk_take_place(Member *m) noexcept nogil
cdef extern void disk_leave_place(Member *m) noexcept nogil
cdef extern void disk_begin_anew(Member *m) noexcept nogil
cdef extern Rewrite disk_rewritten(Member *m) noexcept nogil
cdef extern void disk_woken(Member *m) noexcept nogil
cdef extern void disk_tick(Member *m, bint rare) noexcept nogil
cdef extern bint disk_cares(const RedisModuleConfigChange *change) noexcept nogil
cdef extern void disk_configure(Member *m) noexcept nogil
