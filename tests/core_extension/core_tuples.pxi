# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Included by core.pyx: what goes in and comes out as Python's tuples, and the structs that they stand for.

class Role(enum.IntEnum):
    ALONE = messages.ROLE_ALONE
    REMOVED = messages.ROLE_REMOVED
    LEARNER = messages.ROLE_LEARNER
    SINGLETON = messages.ROLE_SINGLETON
    HEAD = messages.ROLE_HEAD
    MIDDLE = messages.ROLE_MIDDLE
    TAIL = messages.ROLE_TAIL


class Verdict(enum.IntEnum):
    ACCEPTED = messages.ACCEPTED
    STALE = messages.STALE
    BEHIND = messages.BEHIND
    OTHER_HISTORY = messages.OTHER_HISTORY
    CONFLICT = messages.CONFLICT
    STRANGER = messages.STRANGER
    NOT_GREETED = messages.NOT_GREETED
    GAP = messages.GAP
    DIVERGED = messages.DIVERGED
    TOO_FAR_BEHIND = messages.TOO_FAR_BEHIND
    NONSENSE = messages.NONSENSE
    NO_MEMORY = messages.NO_MEMORY


class Limits(NamedTuple):
    log_bytes: int
    backlog_bytes: int
    join_bytes: int


class View(NamedTuple):
    history: bytes              # 16 bytes
    epoch: int
    members: tuple              # run_ids, head first
    kind: int = 0               # of view.pxd


class Greeting(NamedTuple):
    epoch: int
    history: bytes
    applied: int
    assigned: int
    heeds_saved: bool = False


class Batch(NamedTuple):
    epoch: int
    assigned: int
    first: int
    count: int
    committed: int
    upto: int
    bytes: int = 0
    answer: int = 0
    listens: bool = False
    saved: int = -1


class Ack(NamedTuple):
    epoch: int
    committed: int
    head_told: bool = False
    question: int = 0
    synced: int = -1


class Entry(NamedTuple):
    key: int
    value: int = 0
    client: int = 0
    waiter: int = 0
    since_ms: int = 0
    bytes: int = 0


class KeyspaceInfo(NamedTuple):
    keys: int
    others: bool
    expiring: int
    expiring_fields: int


class Update(NamedTuple):
    """One update of a payload."""
    key: bytes
    value: object = None        # bytes; None: delete
    client: object = None       # bytes; None: nobody wants a publication


cdef int copy_view(given, view.View *out) except -1:
    """ValueError if the view does not fit the struct."""
    cdef int i
    memset(out, 0, sizeof(view.View))
    if len(given.history) != view.HISTORY_BYTES:
        raise ValueError("a history has 16 bytes")
    if len(given.members) > view.MAX_MEMBERS:
        raise ValueError("too many members")
    memcpy(out.history, PyBytes_AS_STRING(given.history), view.HISTORY_BYTES)
    out.epoch = given.epoch
    out.kind = given.kind
    out.count = len(given.members)
    for i, run_id in enumerate(given.members):
        copy_node(run_id, &out.members[i])
    return 0


cdef int copy_node(str run_id, view.Node *out) except -1:
    """The run_id alone is a process's identity to the core. The core does not look at addresses."""
    cdef bytes text = run_id.encode()
    if len(text) >= view.RUN_ID_BYTES:
        raise ValueError("a run_id has at most 40 characters")
    memset(out, 0, sizeof(view.Node))
    strncpy(out.run_id, text, view.RUN_ID_BYTES - 1)
    return 0


cdef str node_name(const view.Node *node):
    return None if node == NULL else (<bytes>node.run_id).decode()


cdef int copy_greeting(given, messages.Greeting *out) except -1:
    if len(given.history) != view.HISTORY_BYTES:
        raise ValueError("a history has 16 bytes")
    out.epoch = given.epoch
    memcpy(out.history, PyBytes_AS_STRING(given.history), view.HISTORY_BYTES)
    out.applied = given.applied
    out.assigned = given.assigned
    out.heeds_saved = given.heeds_saved
    return 0


cdef object greeting_object(const messages.Greeting *g):
    return Greeting(g.epoch, (<const char *>g.history)[:view.HISTORY_BYTES], g.applied, g.assigned,
                    bool(g.heeds_saved))


cdef batch_object(const messages.Batch *batch):
    return Batch(batch.epoch, batch.assigned, batch.first, batch.count, batch.committed, batch.upto, batch.bytes,
                 batch.answer, bool(batch.listens), batch.saved)


cdef messages.Batch batch_struct(given) except *:
    cdef messages.Batch out
    (out.epoch, out.assigned, out.first, out.count, out.committed, out.upto, out.bytes, out.answer,
     out.listens, out.saved) = given
    return out


cdef log.Entry entry_struct(given) except *:
    cdef log.Entry out
    out.key = <void *><size_t>given.key
    out.value = <void *><size_t>given.value
    out.client = <void *><size_t>given.client
    out.waiter = <void *><size_t>given.waiter
    out.since_ms = given.since_ms
    out.bytes = given.bytes
    return out


cdef object entry_object(const log.Entry *e):
    return Entry(<size_t>e.key, <size_t>e.value, <size_t>e.client, <size_t>e.waiter, e.since_ms, e.bytes)
