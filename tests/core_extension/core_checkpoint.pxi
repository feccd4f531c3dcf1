# SPDX-License-Identifier: Apache-2.0
# Checkpoints: the table of keys that are newer, the records, and what a restart makes of memory and checkpoint.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdlib cimport free, malloc

cimport modules.core.checkpoint.candidates as candidates
cimport modules.core.checkpoint.distinct as distinct
cimport modules.core.checkpoint.key_order as key_order
cimport modules.core.checkpoint.value_place as value_place


class Recovery(enum.IntEnum):
    ANEW = recovery.RECOVERY_ANEW
    BOTH = recovery.RECOVERY_BOTH
    AHEAD = recovery.RECOVERY_AHEAD
    LOST = recovery.RECOVERY_LOST


class RecordKind(enum.IntEnum):
    DAMAGED = record_format.RECORD_DAMAGED
    VALUE = record_format.RECORD_VALUE
    APART = record_format.RECORD_APART
    DELETED = record_format.RECORD_DELETED


NOTHING = record_format.NOTHING


APART_FROM = value_place.APART_FROM


def record_kind(bytes value): return RecordKind(record_format.record_kind(PyBytes_AS_STRING(value), len(value)))


def value_checksum(bytes value): return value_place.value_checksum(PyBytes_AS_STRING(value), len(value))


class ValuePlace(NamedTuple):
    file: int
    offset: int
    length: int
    checksum: int


def put_place(given):
    """The value of a record whose value is at that ValuePlace."""
    cdef value_place.ValuePlace place
    cdef char out[record_format.APART_RECORD_BYTES]
    place.file, place.offset, place.length, place.checksum = given
    value_place.put_place(out, &place)
    return out[:record_format.APART_RECORD_BYTES]


def get_place(bytes value):
    """The ValuePlace of a record of kind APART."""
    cdef value_place.ValuePlace place
    if record_kind(value) is not RecordKind.APART:
        raise ValueError(value)
    value_place.get_place(PyBytes_AS_STRING(value), &place)
    return ValuePlace(place.file, place.offset, place.length, place.checksum)


cdef class Memtable:
    """The table of `modules/core/checkpoint/memtable.pxd`, from keys to sequence numbers."""

    cdef memtable.Memtable *table

    def __cinit__(self, uint64_t seed, uint64_t expected=0):
        self.table = memtable.memtable_new(seed, expected)
        if self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        memtable.memtable_free(self.table)

    def __len__(self): return self.table.count

    @property
    def buckets(self): return memtable.memtable_buckets(self.table)

    def put(self, key, int64_t sn):
        """key: bytes, or a bytearray that the caller goes on using."""
        cdef bytearray taken = bytearray(key) if isinstance(key, bytes) else key
        cdef char *start = PyByteArray_AS_STRING(taken)
        cdef uint32_t hash = memtable.memtable_hash(start, len(taken), self.table.seed)
        memtable.memtable_put(self.table, start, len(taken), hash).sn = sn

    cdef uint32_t _hash(self, bytes key):
        return memtable.memtable_hash(PyBytes_AS_STRING(key), len(key), self.table.seed)

    def find(self, bytes key):
        """The key's sequence number. None if the key is not there."""
        cdef const memtable.MemtableEntry *entry = memtable.memtable_find(
            self.table, PyBytes_AS_STRING(key), len(key), self._hash(key))
        return None if entry == NULL else entry.sn

    def in_order(self):
        """The keys, as a checkpoint gets them."""
        cdef const key_order.Ordered *ordered
        cdef size_t bytes = (2 * self.table.count + 1) * sizeof(key_order.Ordered)
        cdef key_order.Ordered *room = <key_order.Ordered *>malloc(bytes)
        if room == NULL:
            raise MemoryError
        ordered = key_order.memtable_in_order(self.table, room)
        found = [ordered[i].entry.bytes[:ordered[i].entry.length] for i in range(self.table.count)]
        free(room)
        return found

    def entries(self):
        """Pairs of key and sequence number, in the order in which the keys came."""
        cdef const memtable.MemtableEntry *entry
        found = []
        for i in range(self.table.count):
            entry = memtable.memtable_at(self.table, i)
            found.append((entry.bytes[:entry.length], entry.sn))
        return found


cdef class Candidates:
    """The queue of `modules/core/checkpoint/candidates.pxd`."""

    cdef candidates.Candidates c

    def __dealloc__(self): candidates.candidates_clear(&self.c)

    @property
    def size(self): return self.c.bytes

    def add(self, bytes key, int64_t now_ms, uint64_t most):
        candidates.candidates_add(&self.c, PyBytes_AS_STRING(key), len(key), now_ms, most)

    def look(self, int most):
        cdef candidates.Candidate[64] found
        cdef int count = candidates.candidates_look(&self.c, found, min(most, 64))
        return [(found[i].key[:found[i].length], found[i].added_ms) for i in range(count)]

    def drop(self): candidates.candidates_drop(&self.c)

    def clear(self): candidates.candidates_clear(&self.c)


cdef class Distinct:
    """The estimate of `modules/core/checkpoint/distinct.pxd`."""

    cdef distinct.Distinct keys
    cdef uint64_t _seed

    def __cinit__(self, uint64_t seed): self._seed = seed

    def note(self, bytes key):
        distinct.distinct_note(&self.keys, memtable.key_hash(PyBytes_AS_STRING(key), len(key), self._seed))

    def at_most(self, uint64_t count): return bool(distinct.distinct_at_most(&self.keys, count))


def record_key(bytes key, int64_t sn):
    cdef bytearray out = bytearray(record_format.record_key_room(len(key)))
    return bytes(out[:record_format.record_key(out, PyBytes_AS_STRING(key), len(key), sn)])


def parse_record_key(bytes record):
    """The key and the sequence number. None if the bytes are no record's key."""
    cdef bytearray out = bytearray(max(1, len(record)))
    cdef size_t length = 0
    if len(record) < record_format.VERSION_BYTES + 3 or not record_format.unescape(record, len(record), out, &length):
        return None
    return bytes(out[:length]), record_format.record_sn(record, len(record))


class Meta(NamedTuple):
    format: int
    history: str
    after: int
    watermark: int
    others: bool
    records: int
    swept: int
    boundaries: tuple[tuple[int, int], ...]


cdef void fill_meta(given, record_format.Meta *out) except *:
    memset(out, 0, sizeof(record_format.Meta))
    out.found = True
    out.format = given.format
    history = bytes.fromhex(given.history)
    memcpy(out.history, PyBytes_AS_STRING(history), view.HISTORY_BYTES)
    out.after, out.watermark, out.others = given.after, given.watermark, given.others
    out.records, out.swept = given.records, given.swept
    out.boundary_count = len(given.boundaries)
    for i, (first_sn, epoch) in enumerate(given.boundaries):
        out.boundaries[i].first_sn, out.boundaries[i].epoch = first_sn, epoch


def write_meta(given):
    """A meta record's text."""
    cdef record_format.Meta meta
    cdef bytearray out = bytearray(record_format.META_BYTES)
    fill_meta(given, &meta)
    history = given.history.encode()
    return bytes(out[:record_format.write_meta(&meta, history, out)])


def read_meta(bytes text):
    """The Meta of a meta record's text. None if the text is no meta record."""
    cdef record_format.Meta meta
    cdef char history[2 * view.HISTORY_BYTES + 1]
    if b"\0" in text or not record_format.read_meta(text, &meta, history):
        return None
    boundaries = tuple([(meta.boundaries[i].first_sn, meta.boundaries[i].epoch) for i in range(meta.boundary_count)])
    shown = (<bytes>history).decode("latin-1")
    return Meta(meta.format, shown, meta.after, meta.watermark, bool(meta.others), meta.records, meta.swept, boundaries)


def weigh_recovery(Core member, bint tracked, int64_t watermark, bint incomplete, bint others, given):
    """given: the checkpoint's Meta, or None."""
    cdef record_format.Meta meta
    cdef recovery.Loaded loaded
    loaded.tracked, loaded.watermark, loaded.incomplete, loaded.others = tracked, watermark, incomplete, others
    memset(&meta, 0, sizeof(record_format.Meta))
    if given is not None:
        fill_meta(given, &meta)
    return Recovery(recovery.weigh_recovery(&member.c, &loaded, &meta))
