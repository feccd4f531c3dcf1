# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What each client's newest command under MEMBER.ONCE was replied, so that a repetition is answered and not executed.

A client numbers its commands, and has one under way at a time. So one reply is kept for each client: that of its newest
sequence number (RIFL, SOSP 2015). Records come with the effects of their commands, so the tables of all members are
equal at equal positions. The head alone decides who is forgotten, and its effects say so.

The time of a record is the one when *this* member has got it, which is never earlier than at the head. So a new head
forgets later than the old one would have, never earlier.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from modules.core.invariant cimport INVARIANT
from modules.core.keyed_hash cimport HashKey, keyed_hash
from modules.core.memory cimport memory_give, memory_take, memory_take_zeroed

cdef enum:
    ONCE_ID_BYTES = 64          # of the longest client id
    ONCE_FIRST_BUCKETS = 64
    ONCE_FORGETS = 16           # with one command: each makes place for one, so this is soon done


cdef enum OnceVerdict:
    ONCE_NEW                    # it is to be executed
    ONCE_REPEATED               # it was executed, and its reply is kept
    ONCE_OLD                    # the client has a newer one, so it has got this one's reply
    ONCE_OTHER                  # another command has this sequence number


cdef struct OnceRecord:
    OnceRecord *chained         # in the same bucket
    OnceRecord *older           # in the order of the stream
    OnceRecord *newer
    uint64_t hash
    int64_t sequence
    uint64_t digest             # of the command
    int64_t seen_ms
    char *reply                 # as it went to the client, in RESP
    uint64_t reply_length       # 0: the reply was too long to be kept
    uint64_t id_length
    char id[ONCE_ID_BYTES]


cdef struct OnceTable:
    # Zeroed at the beginning, but for the key.
    HashKey key                 # of the hashes of ids, which clients choose
    OnceRecord **buckets
    uint64_t room               # number of buckets, a power of 2
    uint64_t count
    uint64_t bytes
    OnceRecord *oldest
    OnceRecord *newest
    OnceRecord *spare           # for the command that is about to run: what was executed can be recorded


# ---------------------------------------------------------------------------------------------------- digests

cdef inline uint64_t once_digest(uint64_t digest, const char *bytes, uint64_t length) noexcept nogil:
    """Returns `digest` with these bytes, and their number, mixed in. It tells mistakes apart, and no attacks."""
    cdef uint64_t word
    cdef uint64_t at = 0
    digest = (digest ^ length) * 0x9E3779B97F4A7C15ULL
    while at < length:
        word = 0
        memcpy(&word, bytes + at, min(<uint64_t>8, length - at))
        digest = (digest ^ word) * 0x9E3779B97F4A7C15ULL
        digest ^= digest >> 29
        at += 8
    return digest


# ------------------------------------------------------------------------------------------------ looking up

cdef inline OnceRecord *once_find(const OnceTable *t, const char *id, uint64_t length) noexcept nogil:
    """Returns the client's record; NULL: it is not known."""
    cdef uint64_t hash = keyed_hash(&t.key, id, length)
    cdef OnceRecord *record = t.buckets[hash & (t.room - 1)] if t.room else NULL
    while record != NULL and (
            record.hash != hash or record.id_length != length or memcmp(record.id, id, length) != 0):
        record = record.chained
    return record


cdef inline OnceVerdict once_judge(const OnceRecord *record, int64_t sequence, uint64_t digest) noexcept nogil:
    """What is to be done with a command of the client to which the record belongs; NULL: it is not known."""
    if record == NULL or sequence > record.sequence:
        return ONCE_NEW
    if sequence < record.sequence:
        return ONCE_OLD
    return ONCE_REPEATED if digest == record.digest else ONCE_OTHER


cdef inline uint64_t once_cost(const OnceRecord *record) noexcept nogil:
    return sizeof(OnceRecord) + record.reply_length


cdef inline bint once_has_place(
    const OnceTable *t, const OnceRecord *record, uint64_t clients, uint64_t bytes,
) noexcept nogil:
    """Returns whether a command of this client may be recorded within the limits. Its reply is not known yet, so the
    limit of bytes may be exceeded by one reply. `record` is the client's; NULL: it is not known.
    """
    if record == NULL:
        return t.count < clients and t.bytes < bytes
    return t.bytes - once_cost(record) < bytes


# ------------------------------------------------------------------------------------------------ forgetting

cdef inline void once_unlink(OnceTable *t, OnceRecord *record) noexcept nogil:
    """Take a record out of the list and its bucket."""
    cdef OnceRecord **place = &t.buckets[record.hash & (t.room - 1)]
    while place[0] != record:
        place = &place[0].chained
    place[0] = record.chained
    if record.older != NULL:
        record.older.newer = record.newer
    else:
        t.oldest = record.newer
    if record.newer != NULL:
        record.newer.older = record.older
    else:
        t.newest = record.older
    INVARIANT(t.count > 0 and t.bytes >= once_cost(record), "rule 9: the bytes of kept replies are counted")
    t.count -= 1
    t.bytes -= once_cost(record)


cdef inline void once_remove(OnceTable *t, OnceRecord *record) noexcept nogil:
    once_unlink(t, record)
    memory_give(record.reply)
    memory_give(record)


cdef inline uint64_t once_forget_silent(OnceTable *t, int64_t now_ms, int64_t keep_ms) noexcept nogil:
    """At the head: forget clients that have been silent for longer than `keep_ms`, the longest first.

    Returns how many, at most ONCE_FORGETS.
    """
    cdef uint64_t forgotten = 0
    while t.oldest != NULL and forgotten < ONCE_FORGETS and now_ms - t.oldest.seen_ms > keep_ms:
        once_remove(t, t.oldest)
        forgotten += 1
    return forgotten


cdef inline bint once_forget_oldest(OnceTable *t, uint64_t count) noexcept nogil:
    """At the other members: forget as many as the head has. Returns False if there are not so many."""
    if count > t.count:
        return False
    while count:
        once_remove(t, t.oldest)
        count -= 1
    return True


cdef inline void once_clear(OnceTable *t) noexcept nogil:
    """The data is another's, or gone."""
    cdef HashKey key = t.key
    once_forget_oldest(t, t.count)
    memory_give(t.spare)
    memory_give(t.buckets)
    memset(t, 0, sizeof(OnceTable))
    t.key = key


# -------------------------------------------------------------------------------------------------- recording

cdef inline bint once_grow(OnceTable *t) noexcept nogil:
    cdef uint64_t room = 2 * t.room if t.room else ONCE_FIRST_BUCKETS
    cdef OnceRecord **buckets = <OnceRecord **>memory_take_zeroed(room * sizeof(OnceRecord *))
    cdef OnceRecord *record = t.oldest
    if buckets == NULL:
        return False
    while record != NULL:
        record.chained = buckets[record.hash & (room - 1)]
        buckets[record.hash & (room - 1)] = record
        record = record.newer
    memory_give(t.buckets)
    t.buckets = buckets
    t.room = room
    return True


cdef inline bint once_prepare(OnceTable *t) noexcept nogil:
    """Take the memory for one record, before its command is executed. Returns False if there is none."""
    if t.count >= t.room and not once_grow(t):
        return False
    if t.spare == NULL:
        t.spare = <OnceRecord *>memory_take(sizeof(OnceRecord))
    return t.spare != NULL


cdef inline void once_put(
    OnceTable *t, const char *id, uint64_t id_length, int64_t sequence, uint64_t digest, char *reply,
    uint64_t reply_length, int64_t now_ms,
) noexcept nogil:
    """Record the client's newest command. Takes over `reply`, of `memory_take`; NULL with length 0: it is not kept.

    `once_prepare` was called before.
    """
    cdef OnceRecord *former = once_find(t, id, id_length)
    cdef OnceRecord *record = t.spare
    INVARIANT(former == NULL or former.sequence < sequence, "rule 6: the sequence numbers of a client grow")
    INVARIANT(t.newest == NULL or t.newest.seen_ms <= now_ms,
              "rule 6: clients are kept in the order of their newest commands")
    t.spare = NULL
    if former != NULL:
        once_remove(t, former)
    memset(record, 0, sizeof(OnceRecord))
    memcpy(record.id, id, id_length)
    record.id_length = id_length
    record.hash = keyed_hash(&t.key, id, id_length)
    record.sequence, record.digest, record.seen_ms = sequence, digest, now_ms
    record.reply, record.reply_length = reply, reply_length
    record.chained = t.buckets[record.hash & (t.room - 1)]
    t.buckets[record.hash & (t.room - 1)] = record
    record.older = t.newest
    if t.newest != NULL:
        t.newest.newer = record
    else:
        t.oldest = record
    t.newest = record
    t.count += 1
    t.bytes += once_cost(record)


cdef inline char *once_copy(const char *reply, uint64_t length) noexcept nogil:
    """Returns a copy for `once_put`; NULL: there is no memory, or the reply is empty."""
    cdef char *copy = <char *>memory_take(length) if length else NULL
    if copy != NULL:
        memcpy(copy, reply, length)
    return copy
