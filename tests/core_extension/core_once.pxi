# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Included by core.pyx: the replies that MEMBER.ONCE keeps.

cimport modules.core.keyed_hash as keyed_hashes
cimport modules.core.kept_reply as kept_reply
cimport modules.core.once_table as once_table


cdef class OnceTable:
    """One member's `OnceTable`."""

    cdef once_table.OnceTable t

    def __cinit__(self):
        memset(&self.t, 0, sizeof(self.t))

    def __dealloc__(self):
        once_table.once_clear(&self.t)

    def __len__(self): return self.t.count

    @property
    def bytes(self): return self.t.bytes

    def judge(self, bytes client, int64_t sequence, uint64_t digest=0):
        """"new", "repeated", "old" or "other"."""
        cdef once_table.OnceRecord *record = once_table.once_find(&self.t, PyBytes_AS_STRING(client), len(client))
        return ["new", "repeated", "old", "other"][<int>once_table.once_judge(record, sequence, digest)]

    def reply(self, bytes client):
        """What is kept for the client; None: it is not known."""
        cdef once_table.OnceRecord *record = once_table.once_find(&self.t, PyBytes_AS_STRING(client), len(client))
        return None if record == NULL else PyBytes_FromStringAndSize(record.reply, <Py_ssize_t>record.reply_length)

    def has_place(self, bytes client, uint64_t clients, uint64_t size):
        cdef once_table.OnceRecord *record = once_table.once_find(&self.t, PyBytes_AS_STRING(client), len(client))
        return bool(once_table.once_has_place(&self.t, record, clients, size))

    def put(self, bytes client, int64_t sequence, bytes reply=b"", int64_t now_ms=0, uint64_t digest=0):
        cdef char *copy = once_table.once_copy(PyBytes_AS_STRING(reply), len(reply))
        assert once_table.once_prepare(&self.t)
        once_table.once_put(
            &self.t, PyBytes_AS_STRING(client), len(client), sequence, digest, copy, len(reply), now_ms)

    def give_up(self, bytes client):
        cdef once_table.OnceRecord *record = once_table.once_find(&self.t, PyBytes_AS_STRING(client), len(client))
        once_table.once_remove(&self.t, record)

    def forget_silent(self, int64_t now_ms, int64_t keep_ms):
        return once_table.once_forget_silent(&self.t, now_ms, keep_ms)

    def forget_oldest(self, uint64_t count): return bool(once_table.once_forget_oldest(&self.t, count))

    def miscount(self, uint64_t size):
        """Damage the table: it says that it has so many bytes."""
        self.t.bytes = size

    def in_order(self):
        """The clients and their newest sequence numbers, the longest silent one first."""
        cdef once_table.OnceRecord *record = self.t.oldest
        found = []
        while record != NULL:
            found.append((PyBytes_FromStringAndSize(record.id, <Py_ssize_t>record.id_length), record.sequence))
            record = record.newer
        return found


def reply_parts(bytes reply):
    """The parts of a reply in RESP: a letter, and the number or the text that counts. ValueError: it is not whole."""
    cdef kept_reply.ReplyPart part
    cdef uint64_t at = 0
    parts = []
    while kept_reply.reply_part(PyBytes_AS_STRING(reply), len(reply), &at, &part):
        text = PyBytes_FromStringAndSize(part.text, <Py_ssize_t>part.length)
        letter = chr(part.letter)
        parts.append((letter, part.number if letter in "*%~|>" or part.number < 0 else text))
    if at != <uint64_t>len(reply):
        raise ValueError(reply)
    return parts


def keyed_hash(bytes text, uint64_t low, uint64_t high):
    cdef keyed_hashes.HashKey key
    key.low, key.high = low, high
    return keyed_hashes.keyed_hash(&key, PyBytes_AS_STRING(text), len(text))
