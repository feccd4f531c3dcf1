# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The gate's fields of INFO.

from modules.bindings.redismodule cimport (
    RedisModuleInfoCtx, RedisModule_InfoAddFieldCString, RedisModule_InfoAddFieldLongLong,
)


cdef void info_gate(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    cdef const GateShared *gate = &m.gate.shared
    cdef int64_t oldest_ms = observe(&gate.oldest_read_ms)
    RedisModule_InfoAddFieldLongLong(info, "gate", m.gate.runs)
    RedisModule_InfoAddFieldCString(info, "gate_error", m.gate.error)
    RedisModule_InfoAddFieldLongLong(info, "gate_clients", observe(&gate.clients))
    RedisModule_InfoAddFieldLongLong(info, "gate_unheld_clients", observe(&gate.unheld_clients))
    RedisModule_InfoAddFieldLongLong(info, "gate_handed_back", m.gate.handed_back)
    RedisModule_InfoAddFieldLongLong(info, "gate_held_bytes", observe(&gate.held_bytes))
    RedisModule_InfoAddFieldLongLong(info, "gate_held_clients", observe(&gate.held_clients))
    RedisModule_InfoAddFieldLongLong(info, "gate_oldest_held_ms", boot_ms() - oldest_ms if oldest_ms else 0)
    RedisModule_InfoAddFieldLongLong(info, "gate_dropped_clients", observe(&gate.dropped_clients))
    RedisModule_InfoAddFieldLongLong(info, "gate_relayed_bytes", observe(&gate.relayed_bytes))
