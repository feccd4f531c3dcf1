# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A member and its own disk: what the append-only file still lacks, and what a restart finds in it.

    durability_next_record      updates to be recorded, in order and each once; then `durability_note_recorded`
    durability_note_saved       how far the file is on the disk
    durability_may_claim        whether a record may say that the file has all that is committed
    durability_restore          the position that came with loaded data
    durability_restore_kind     the kind of the chain that it belongs to
    durability_branch           restored data begins a history of its own
    durability_on_record        a record that is read again at a restart; then `durability_note_replayed`
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t, uint8_t
from libc.string cimport memcpy

from modules.core.chain cimport Chain, NO_LIMIT, chain_jump, chain_written
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport Boundary, MAX_BOUNDARIES
from modules.core.messages cimport ACCEPTED, Batch, CONFLICT, NONSENSE, OTHER_HISTORY, Verdict
from modules.core.replication cimport replication_bundle, replication_commit_own, replication_continues
from modules.core.view cimport HISTORY_BYTES, same_history


cdef inline void durability_note_saved(Chain *c, int64_t on_disk) noexcept nogil:
    """Updates up to `on_disk` are on the disk (design.md, "Restart"). NO_LIMIT: this member vouches without a disk."""
    if c.on_disk == NO_LIMIT and on_disk != NO_LIMIT:
        c.vouched = c.applied
    c.on_disk = on_disk
    replication_commit_own(c)


cdef inline bint durability_may_claim(const Chain *c) noexcept nogil:
    """May a record at this place in the file claim that the file has all that is committed?

    What this member has vouched for before it waited for its disk has to stand before the record.
    """
    return chain_written(c) >= c.vouched


cdef inline void durability_set_recording(Chain *c, bint wanted) noexcept nogil:
    """From now on there is an append-only file, if `wanted`, which holds every update applied so far."""
    c.recorded = c.applied if wanted else NO_LIMIT


cdef inline bint durability_next_record(Chain *c, uint64_t max_bytes, Batch *out) noexcept nogil:
    """The next updates to be recorded; `out` gets the fields that a record has. Returns False if there are none."""
    if c.recorded >= c.applied:
        return False
    INVARIANT(c.recorded + 1 >= c.log.first, "rule 3: the log keeps what the append-only file lacks")
    replication_bundle(c, c.recorded + 1, c.applied, max_bytes, out)
    return True


cdef inline void durability_note_recorded(Chain *c, const Batch *batch) noexcept nogil:
    INVARIANT(
        batch.first == c.recorded + 1 and batch.first + batch.count - 1 <= c.applied,
        "rule 1: updates are recorded in order, and each once")
    c.recorded = batch.first + batch.count - 1


cdef inline Verdict durability_restore(
    Chain *c, const uint8_t *history, int64_t applied, const Boundary *boundaries, int count,
) noexcept nogil:
    """The position of data that has been loaded from disk or from another member. NONSENSE if it is no position."""
    cdef int i
    if applied < -1 or applied > INT64_MAX // 2 or count < 0 or count > MAX_BOUNDARIES:
        return NONSENSE
    if applied >= 0 and count == 0:
        return NONSENSE
    for i in range(count):
        if boundaries[i].first_sn < 0 or boundaries[i].first_sn > applied or boundaries[i].epoch < 0:
            return NONSENSE
        if i and boundaries[i].first_sn <= boundaries[i - 1].first_sn:
            return NONSENSE
        if i and boundaries[i].epoch <= boundaries[i - 1].epoch:
            return NONSENSE
    if c.learner and not same_history(history, c.history):
        return OTHER_HISTORY
    memcpy(&c.log.boundaries[0], boundaries, count * sizeof(Boundary))
    c.log.boundary_count = count
    memcpy(c.history, history, HISTORY_BYTES)
    c.has_history = True
    chain_jump(c, applied)
    return ACCEPTED


cdef inline void durability_restore_kind(Chain *c, int kind) noexcept nogil:
    """The kind of the chain whose data has been loaded from disk. No view exists yet that would tell it."""
    if c.view.epoch == 0:
        c.view.kind = kind


cdef inline Verdict durability_branch(Chain *c, const uint8_t *history) noexcept nogil:
    """Restored data becomes the beginning of another history, of which no view exists yet.

    Sequence numbers and epochs go on: the new history's first epoch has to be higher than that of the last update.
    """
    if not c.has_history or c.learner or c.view.epoch != 0:
        return CONFLICT
    memcpy(c.history, history, HISTORY_BYTES)
    c.newest_epoch = 0
    return ACCEPTED


cdef inline Verdict durability_on_record(const Chain *c, const Batch *batch, int64_t *skip) noexcept nogil:
    """Judges a record that is read again. ACCEPTED: apply it without the first `skip` updates, which are loaded."""
    return replication_continues(c, batch, skip) if c.has_history else OTHER_HISTORY


cdef inline void durability_note_replayed(Chain *c) noexcept nogil:
    """The caller has appended the updates that `durability_on_record` did not skip. No client waits for them."""
    c.committed = c.applied
    if c.recorded != NO_LIMIT:
        c.recorded = c.applied
