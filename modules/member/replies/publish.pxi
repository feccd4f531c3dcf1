# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Publications: the sequence number of an update that is committed, in the channel that its client named.

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport (
    RedisModuleString, RedisModule_CreateString, RedisModule_CreateStringFromLongLong, RedisModule_FreeString,
    RedisModule_PublishMessage,
)
from modules.core.chain cimport chain_is_tail
from modules.core.log cimport Entry
from modules.core.wire cimport Packed
from modules.member.keyspace.log_entries cimport entry_read
from modules.member.state.member cimport Member


cdef bint publishes(const Member *m) noexcept nogil:
    """Returns whether this member publishes. A former tail goes on to publish, since it may still have subscribers
    (design.md, "Publications").
    """
    return m.clients.subscribers and (
        not m.chain.has_history or chain_is_tail(&m.chain) or (m.clients.was_tail and m.chain.me >= 0))


cdef void publish(Member *m, RedisModuleString *channel, int64_t sn) noexcept nogil:
    cdef RedisModuleString *text = RedisModule_CreateStringFromLongLong(NULL, sn)
    RedisModule_PublishMessage(m.ctx, channel, text)
    RedisModule_FreeString(NULL, text)


cdef void publish_update(Member *m, const Entry *entry, int64_t sn) noexcept nogil:
    """Publish the number of an update of the log, whose client wants that."""
    cdef Packed update
    cdef RedisModuleString *channel
    entry_read(entry, &update)
    channel = RedisModule_CreateString(NULL, update.client, update.client_bytes)
    publish(m, channel, sn)
    RedisModule_FreeString(NULL, channel)
