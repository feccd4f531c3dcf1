# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a commit causes: answers to writers and to MEMBER.WAIT, and the trimming of the log.

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleBlockedClient, RedisModule_UnblockClient
from modules.core.chain cimport chain_takes_writes
from modules.core.log cimport Entry, boundary_epoch_of, log_epoch_of
from modules.core.outbox cimport (
    outbox_pop_expired, outbox_pop_orphan, outbox_pop_settled, outbox_pop_trimmed, outbox_settle_stream,
)
from modules.member.keyspace.log_entries cimport entry_release
from modules.member.replies.waiting cimport awaits_view, first_waiting
from modules.member.state.effects cimport Numbers
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WAIT_COMMIT, Waiter


cdef void settle(Member *m) noexcept nogil:
    """Carry out what the chain has made due. To be called after everything that may have changed `committed` or the
    view.
    """
    cdef bint publishing = publishes(m)
    cdef Entry *entry
    cdef Entry gone
    cdef void *waiter
    cdef int64_t sn
    while True:
        entry = outbox_pop_settled(&m.chain, &sn)
        if entry == NULL:
            break
        if entry.waiter != NULL:
            answer_writer(m, entry.waiter, answer_number(sn))
            entry.waiter = NULL
        if publishing and entry.client != NULL:
            # The publication leaves this process at the end of the pass. Until then the tail must not acknowledge the
            # update: if this tail died, a new tail would not know that it must publish the update again.
            m.chain.published = min(m.chain.published, sn - 1)
            publish_update(m, entry, sn)
    while True:
        waiter = outbox_pop_orphan(&m.chain)
        if waiter == NULL:
            break
        answer_unknown(m, waiter)
    while outbox_pop_trimmed(&m.chain, &gone):
        entry_release(&m.keyspace.payloads, &gone)
    outbox_settle_stream(&m.chain)


cdef void answer_writer(Member *m, void *writer, void *answer) noexcept nogil:
    """Answer a writer whose update is in the log: a blocked client, or a direct one."""
    if is_direct(writer):
        answer_direct(m, writer, answer)
    else:
        RedisModule_UnblockClient(<RedisModuleBlockedClient *>writer, answer)


cdef void answer_unknown(Member *m, void *writer) noexcept nogil:
    """Answer a writer whose update is in the log: the outcome is unknown."""
    m.clients.unknown_outcomes += 1
    answer_writer(m, writer, answer_outcome(OUTCOME_UNKNOWN))


cdef int64_t came_too_early_ms(const Member *m) noexcept nogil:
    """Returns the time limit of blocked writers: one that came then, or earlier, has waited for member.write-timeout.
    """
    return m.now_ms - m.settings.write_timeout


cdef void settle_expired(Member *m) noexcept nogil:
    """Answer the writers whose commit is not known in time."""
    cdef void *writer = outbox_pop_expired(&m.chain, came_too_early_ms(m))
    while writer != NULL:
        answer_unknown(m, writer)
        writer = outbox_pop_expired(&m.chain, came_too_early_ms(m))


# -------------------------------------------------------------------------------------------- MEMBER.WAIT

cdef void *numbered_wait_answer(const Member *m, const Waiter *wait) noexcept nogil:
    """Returns the answer to a MEMBER.WAIT, which is held until it is true. NULL: the update has not been made yet."""
    cdef const Numbers *numbers = &m.effects.numbers
    if m.chain.me != 0:
        return answer_not_head_to_wait(m, wait)
    if m.effects.leads and wait.sn <= numbers.newest:
        if wait.epoch >= 0 and boundary_epoch_of(numbers.epochs, numbers.count, wait.sn) > wait.epoch:
            return answer_outcome(OUTCOME_REASSIGNED)
        return answer_number(numbers.newest)
    if wait.deadline_ms and wait.deadline_ms <= m.now_ms:
        return answer_outcome(OUTCOME_TIMEOUT)
    return NULL


cdef void *wait_answer(const Member *m, const Waiter *wait) noexcept nogil:
    """Returns the answer to a MEMBER.WAIT. NULL: the client must wait on."""
    if m.chain.log.streams:
        return numbered_wait_answer(m, wait)
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        return answer_not_head_to_wait(m, wait)
    if wait.sn <= m.chain.committed:
        if wait.epoch >= 0 and log_epoch_of(&m.chain.log, wait.sn) > wait.epoch:
            return answer_outcome(OUTCOME_REASSIGNED)
        return answer_number(m.chain.committed)
    if wait.deadline_ms and wait.deadline_ms <= m.now_ms:
        return answer_outcome(OUTCOME_TIMEOUT)
    return NULL


cdef void settle_waits(Member *m) noexcept nogil:
    """Answer the MEMBER.WAITs whose answer is decided. Called in each pass, and before this member leaves its chain."""
    cdef Waiter *wait = first_waiting(m, WAIT_COMMIT)
    cdef Waiter *next
    cdef void *answer
    while wait != NULL:
        next = wait.next
        answer = wait_answer(m, wait)
        if answer != NULL:
            tell(m, wait, answer)
        wait = next
