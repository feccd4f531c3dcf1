# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The protocol core for Python: the very code that runs in libmember.so, driven by the tests.

`modules/core/*.pxd` is header-only: the functions called here are the text that the member module inlines too, not a
second implementation. `Core` wraps one `Chain`; its methods are named as the core's functions and documented there.

Payloads are handles, positive integers that mean something to the caller alone (0: absent). A `Core` follows who owns
them: a handle that went in comes out exactly once, through `pop_…`. `Core.check` tells what has gone wrong so far.
"""

import enum
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strncpy

# By their full names, or the build does not see that this file depends on them.
cimport modules.core.chain as chain
cimport modules.core.checkpoint.memtable as memtable
cimport modules.core.checkpoint.record_format as record_format
cimport modules.core.checkpoint.recovery as recovery
cimport modules.core.durability as durability
cimport modules.core.effect_scanner as effect_scanner
cimport modules.core.effect_stream as effect_stream
cimport modules.core.invariant as invariant
cimport modules.core.keyspace_info as keyspace
cimport modules.core.learner as learner
cimport modules.core.log as log
cimport modules.core.membership as membership
cimport modules.core.messages as messages
cimport modules.core.outbox as outbox
cimport modules.core.read_lease as read_lease
cimport modules.core.replication as replication
cimport modules.core.tickets as tickets
cimport modules.core.view as view
cimport modules.core.wire as wire

MAX_MEMBERS = view.MAX_MEMBERS
KIND_PUT = view.KIND_PUT
KIND_ALL = view.KIND_ALL
MAX_BOUNDARIES = log.MAX_BOUNDARIES
ENTRY_OVERHEAD = log.ENTRY_OVERHEAD
NO_LIMIT = chain.NO_LIMIT

include "core_tuples.pxi"


# -------------------------------------------------------------------------------------------------- core

cdef class Core:
    """One member's `Chain`, known to its peers by `run_id`."""

    cdef chain.Chain c
    cdef bytes _run_id
    cdef set _owned             # handles that are the core's at the moment
    cdef list _errors           # what has gone wrong with them so far

    def __cinit__(self, str run_id, limits):
        cdef messages.Limits given
        given.log_bytes, given.backlog_bytes, given.join_bytes = limits
        chain.chain_init(&self.c, &given)
        self._run_id = run_id.encode()
        self._owned = set()
        self._errors = []

    def __dealloc__(self):
        log.log_free(&self.c.log)

    # ---- state

    @property
    def run_id(self): return self._run_id.decode()

    @property
    def has_history(self): return bool(self.c.has_history)

    @property
    def history(self): return (<const char *>self.c.history)[:view.HISTORY_BYTES] if self.c.has_history else b""

    @property
    def view(self):
        members = tuple([node_name(&self.c.view.members[i]) for i in range(self.c.view.count)])
        history = (<const char *>self.c.view.history)[:view.HISTORY_BYTES]
        return View(history, self.c.view.epoch, members, self.c.view.kind)

    @property
    def epoch(self): return self.c.view.epoch

    @property
    def me(self): return self.c.me

    @property
    def newest_epoch(self): return self.c.newest_epoch

    @property
    def applied(self): return self.c.applied

    @property
    def committed(self): return self.c.committed

    @property
    def settled(self): return self.c.settled

    @property
    def log_first(self): return self.c.log.first

    @property
    def log_bytes(self): return self.c.log.bytes

    @property
    def unsettled_bytes(self): return self.c.unsettled_bytes

    @property
    def in_step(self): return bool(self.c.in_step)

    @property
    def serve_from(self): return self.c.serve_from

    @property
    def streaming(self): return bool(self.c.streaming)

    @property
    def feeding(self): return bool(self.c.feeding)

    @property
    def next_sn(self): return self.c.next_sn

    @property
    def pinned(self): return self.c.pinned

    @property
    def pin_broken(self): return bool(self.c.pin_broken)

    @property
    def resent(self): return self.c.resent

    @property
    def refused_stale(self): return self.c.refused_stale

    @property
    def boundaries(self):
        cdef log.Boundary *table = self.c.log.boundaries
        return [(table[i].first_sn, table[i].epoch) for i in range(self.c.log.boundary_count)]

    def role(self): return Role(chain.chain_role(&self.c))

    def is_tail(self): return bool(chain.chain_is_tail(&self.c))

    def fenced(self): return bool(chain.chain_fenced(&self.c))

    def successor(self): return node_name(chain.chain_successor(&self.c))
    def predecessor(self): return node_name(chain.chain_predecessor(&self.c))

    def head_shortcut(self): return node_name(chain.chain_head_shortcut(&self.c))

    def takes_writes(self): return bool(chain.chain_takes_writes(&self.c))
    def serves_reads(self): return bool(chain.chain_serves_reads(&self.c))
    def has_uncommitted(self): return bool(chain.chain_has_uncommitted(&self.c))
    def shows_data(self): return bool(chain.chain_shows_data(&self.c))

    def epoch_of(self, int64_t sn): return log.log_epoch_of(&self.c.log, sn)

    def position(self):
        cdef messages.Greeting out
        chain.chain_position(&self.c, &out)
        return greeting_object(&out)

    # ---- views

    def judge_epoch(self, int64_t epoch): return Verdict(chain.chain_judge_epoch(&self.c, epoch))

    def adopt(self, given):
        cdef view.View struct
        copy_view(given, &struct)
        return Verdict(membership.membership_adopt(&self.c, &struct, self._run_id))

    def learn(self, given):
        cdef view.View struct
        copy_view(given, &struct)
        membership.membership_learn(&self.c, &struct)

    def relearn(self, given):
        cdef view.View struct
        copy_view(given, &struct)
        return Verdict(membership.membership_relearn(&self.c, &struct))

    def lacks_own(self): return bool(membership.membership_lacks_own(&self.c))
    def continue_alone(self): membership.membership_continue_alone(&self.c)
    def forget(self): membership.membership_forget(&self.c)

    def restore(self, bytes history, int64_t applied, boundaries):
        """ValueError if the history has not 16 bytes, or there are more boundaries than the table holds."""
        cdef log.Boundary table[log.MAX_BOUNDARIES]
        cdef int i
        if len(history) != view.HISTORY_BYTES or len(boundaries) > log.MAX_BOUNDARIES:
            raise ValueError("not a position")
        for i, (first_sn, epoch) in enumerate(boundaries):
            table[i].first_sn = first_sn
            table[i].epoch = epoch
        return Verdict(durability.durability_restore(
            &self.c, <const uint8_t *>PyBytes_AS_STRING(history), applied, table, len(boundaries)))

    def branch(self, bytes history):
        if len(history) != view.HISTORY_BYTES:
            raise ValueError("a history has 16 bytes")
        return Verdict(durability.durability_branch(&self.c, <const uint8_t *>PyBytes_AS_STRING(history)))

    # ---- updates

    def fits(self, uint64_t size): return bool(replication.replication_fits(&self.c, size))
    def has_room(self, uint64_t size): return bool(replication.replication_has_room(&self.c, size))

    def assign(self, entry):
        cdef log.Entry struct = entry_struct(entry)
        cdef int64_t sn = replication.replication_assign(&self.c, &struct)
        if sn >= 0:
            self._take_over(entry)
        return sn

    def append(self, entry, int64_t assigned):
        cdef log.Entry struct = entry_struct(entry)
        appended = bool(replication.replication_append(&self.c, &struct, assigned))
        if appended:
            self._take_over(entry)
        return appended

    def entry_at(self, int64_t sn):
        """An entry of the log. Its handles stay the core's. IndexError if the log does not have it."""
        if not self.c.log.first <= sn < self.c.log.end:
            raise IndexError(f"sn {sn} is not in the log")
        return entry_object(log.log_at(&self.c.log, sn))

    # ---- the stream of a chain of all commands, in which each sn is a byte

    def append_bytes(self, bytes effects, int64_t assigned):
        """As a server appends a message's bytes. False when memory is exhausted."""
        return self._write_ahead(effects) and replication.replication_append_bytes(&self.c, len(effects), assigned)

    def append_own(self, bytes effects):
        """As a head's tap appends what its server has executed, behind what it has read ahead."""
        cdef int64_t count = self.c.log.stream.ahead + <int64_t>len(effects)
        if not self._write_ahead(effects):
            return False
        self.c.log.stream.ahead = 0
        return bool(replication.replication_append_own(&self.c, count))

    def read_ahead(self, bytes effects):
        """As a head's tap reads bytes that do not end a command."""
        if self._write_ahead(effects):
            self.c.log.stream.ahead += len(effects)

    cdef bint _write_ahead(self, bytes effects) noexcept:
        cdef effect_stream.EffectStream *s = &self.c.log.stream
        cdef int64_t end = self.c.log.end + s.ahead
        if not effect_stream.stream_reserve(s, self.c.log.first, end, len(effects)):
            return False
        effect_stream.stream_write(s, end, PyBytes_AS_STRING(effects), len(effects))
        return True

    def forget_ahead(self): self.c.log.stream.ahead = 0

    def bytes_at(self, int64_t first, int64_t count):
        """The bytes `first` … `first + count - 1` of the stream. IndexError if the log does not have all of them."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, max(0, count))
        if count < 0 or not self.c.log.first <= first <= first + count <= self.c.log.end:
            raise IndexError(f"bytes [{first}, {first + count}) are not in the log")
        effect_stream.stream_copy_out(&self.c.log.stream, first, PyBytes_AS_STRING(out), count)
        return out

    @property
    def marks(self): return [self.c.log.stream.marks[i] for i in range(self.c.log.stream.mark_count)]

    @property
    def capacity(self): return self.c.log.stream.capacity

    @property
    def streams(self): return bool(self.c.log.streams)

    @property
    def lease_until(self): return read_lease.read_lease_until(&self.c)

    @property
    def longest_lease_ms(self): return self.c.longest_lease_ms

    @property
    def executed(self): return self.c.executed

    @executed.setter
    def executed(self, int64_t sn):
        """What the server says, and what a tail commits by it."""
        self.c.executed = sn
        replication.replication_commit_own(&self.c)

    @property
    def written(self): return chain.chain_written(&self.c)

    def boundaries_up_to(self, int64_t sn):
        return self.boundaries[:log.boundaries_up_to(self.c.log.boundaries, self.c.log.boundary_count, sn)]

    def settle_stream(self): outbox.outbox_settle_stream(&self.c)
    def note_clients(self, bint some): self.c.has_clients = some

    # ---- towards the successor

    def on_welcome(self, welcome, str sender):
        cdef messages.Greeting struct
        copy_greeting(welcome, &struct)
        return Verdict(replication.replication_on_welcome(&self.c, &struct, sender.encode()))

    def successor_lost(self): replication.replication_successor_lost(&self.c)

    def next_batch(self, uint64_t max_bytes):
        """The header of the next message. Its updates are `entry_at(first)`, …. None if nothing is due."""
        cdef messages.Batch out
        if not replication.replication_next_batch(&self.c, max_bytes, &out):
            return None
        if out.count and not self.c.log.first <= out.first <= out.first + out.count <= self.c.log.end:
            self._errors.append(f"a batch of {out.count} from {out.first} reaches beyond the log")
        return batch_object(&out)

    def on_ack(self, ack, str sender):
        cdef messages.Ack struct
        struct.epoch, struct.committed, struct.head_told, struct.question, struct.synced = ack
        return Verdict(replication.replication_on_ack(&self.c, &struct, sender.encode()))

    # ---- towards the predecessor

    def on_greet(self, greet, str sender, int64_t connection):
        """The verdict, and the welcome when it is ACCEPTED."""
        cdef messages.Greeting struct
        cdef messages.Greeting welcome
        copy_greeting(greet, &struct)
        verdict = Verdict(replication.replication_on_greet(&self.c, &struct, sender.encode(), connection, &welcome))
        return verdict, greeting_object(&welcome) if verdict == Verdict.ACCEPTED else None

    def on_batch(self, batch, int64_t connection):
        """The verdict, and how many of the batch's updates to skip when it is ACCEPTED."""
        cdef messages.Batch struct = batch_struct(batch)
        cdef int64_t skip = 0
        return Verdict(replication.replication_on_batch(&self.c, &struct, connection, &skip)), skip

    def batch_applied(self, batch):
        cdef messages.Batch struct = batch_struct(batch)
        replication.replication_batch_applied(&self.c, &struct)

    def ack_due(self): return bool(replication.replication_ack_due(&self.c))
    def is_batch_due(self): return bool(replication.replication_is_batch_due(&self.c))

    def take_ack(self):
        cdef messages.Ack out
        replication.replication_take_ack(&self.c, &out)
        return Ack(out.epoch, out.committed, bool(out.head_told), out.question, out.synced)

    def head_ack_due(self): return bool(replication.replication_head_ack_due(&self.c))

    def take_head_ack(self):
        cdef messages.Ack out
        replication.replication_take_head_ack(&self.c, &out)
        return Ack(out.epoch, out.committed, bool(out.head_told), out.question)

    def predecessor_lost(self): replication.replication_predecessor_lost(&self.c)

    def head_lost(self): replication.replication_head_lost(&self.c)

    def tick(self): replication.replication_tick(&self.c)

    # ---- learners

    def pin(self): return bool(learner.learner_pin(&self.c))

    def feed(self, str run_id):
        cdef view.Node node
        copy_node(run_id, &node)
        return bool(learner.learner_feed(&self.c, &node))

    def pin_from(self, int64_t applied, int64_t assigned):
        return Verdict(learner.learner_pin_from(&self.c, applied, assigned))

    def unpin(self): learner.learner_unpin(&self.c)

    # ---- disks and publications, which others hear of an update after

    def record(self, bint wanted): durability.durability_set_recording(&self.c, wanted)

    def next_record(self, uint64_t max_bytes):
        """assigned, first, count of the next record, which counts as recorded now. None if nothing is due."""
        cdef messages.Batch out
        if not durability.durability_next_record(&self.c, max_bytes, &out):
            return None
        durability.durability_note_recorded(&self.c, &out)
        return out.assigned, out.first, out.count

    def on_record(self, int64_t assigned, int64_t first, int64_t count):
        """The verdict, and how many of the record's updates to skip when it is ACCEPTED."""
        cdef messages.Batch struct = batch_struct((0, assigned, first, count, 0, 0, 0, 0, False, 0))
        cdef int64_t skip = 0
        return Verdict(durability.durability_on_record(&self.c, &struct, &skip)), skip

    def replayed(self): durability.durability_note_replayed(&self.c)
    def may_claim(self): return bool(durability.durability_may_claim(&self.c))
    def saved(self, int64_t on_disk): durability.durability_note_saved(&self.c, on_disk)
    def sync(self, int64_t synced): self.c.synced = synced
    def synced_below(self): return self.c.synced_below

    @property
    def recorded(self): return self.c.recorded

    @property
    def published(self): return self.c.published

    @published.setter
    def published(self, int64_t sn): self.c.published = sn

    # ---- leases and questions

    def grant(self, int64_t epoch, int64_t stamp_ms, int64_t length_ms, int64_t now_ms):
        return Verdict(read_lease.read_lease_grant(&self.c, epoch, stamp_ms, length_ms, now_ms))

    def may_read(self, int64_t now_ms): return bool(read_lease.read_lease_may_read(&self.c, now_ms))

    def doubt(self): read_lease.read_lease_doubt(&self.c)
    def ask(self): return read_lease.read_lease_ask(&self.c)

    def is_answered(self, int64_t epoch, int64_t question):
        return bool(read_lease.read_lease_is_answered(&self.c, epoch, question))

    def ask_again(self, int64_t now_ms): read_lease.read_lease_tick(&self.c, now_ms)
    def proven_ms(self, int64_t now_ms): return read_lease.read_lease_proven_ms(&self.c, now_ms)
    def hears_all(self, int64_t now_ms): return bool(read_lease.read_lease_hears_all(&self.c, now_ms))

    # ---- what is due. Handles that come out here are the caller's again

    def pop_settled(self):
        """`(sn, entry)` of the next update to settle. Its waiter is the caller's now. None if there is none."""
        cdef int64_t sn = -1
        cdef log.Entry *entry = outbox.outbox_pop_settled(&self.c, &sn)
        if entry == NULL:
            return None
        settled = entry_object(entry)
        entry.waiter = NULL
        self._give_back(settled.waiter)
        return sn, settled

    def pop_expired(self, int64_t by_ms): return self._give_back(<size_t>outbox.outbox_pop_expired(&self.c, by_ms))

    def pop_orphan(self): return self._give_back(<size_t>outbox.outbox_pop_orphan(&self.c))

    def pop_trimmed(self):
        cdef log.Entry out
        return self._give_back_entry(&out) if outbox.outbox_pop_trimmed(&self.c, &out) else None

    def pop_any(self):
        cdef log.Entry out
        return self._give_back_entry(&out) if outbox.outbox_pop_any(&self.c, &out) else None

    def check_sleep(self, bint saves, int64_t flushed, bint wakes):
        """`take_broken_invariants` returns what is broken."""
        outbox.outbox_check_sleep(&self.c, saves, flushed, wakes)

    # ---- ownership and invariants

    def _take_over(self, entry):
        for handle in (entry.key, entry.value, entry.client, entry.waiter):
            if handle and handle in self._owned:
                self._errors.append(f"handle {handle} went in twice")
            if handle:
                self._owned.add(handle)

    cdef object _give_back(self, size_t handle):
        if handle:
            if handle not in self._owned:
                self._errors.append(f"handle {handle} came out twice")
            self._owned.discard(handle)
        return handle

    cdef object _give_back_entry(self, const log.Entry *out):
        entry = entry_object(out)
        for handle in (entry.key, entry.value, entry.client, entry.waiter):
            self._give_back(handle)
        return entry

    def owned(self):
        """All handles that have gone in and not come out."""
        return frozenset(self._owned)

    def check(self):
        """Every broken invariant of this member's state, as a line of text each."""
        return list(self._errors) + take_broken_invariants() + broken_numbers(self) + broken_log(self)


include "core_check.pxi"
include "core_effects.pxi"
include "core_wire.pxi"
include "core_payloads.pxi"
include "core_checkpoint.pxi"
include "core_held.pxi"
include "core_once.pxi"
include "core_corrupt.pxi"
