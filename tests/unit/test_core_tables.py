"""The protocol core, one event at a time.

"vR&S" is van Renesse and Schneider, Chain Replication for Supporting High Throughput and Availability, OSDI 2004:
section 3 has the protocol, 3.1 the invariants, 3.2 the failures. Rules are those of DESIGN.md, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import ClassVar

import pytest

from chainredis.core import (
    ENTRY_OVERHEAD, MAX_BOUNDARIES, Ack, Batch, Core, Entry, Greeting, Limits, Role, Verdict, View,
)

HISTORY = b"h" * 16
OTHER = b"o" * 16
ROOMY = Limits(log_bytes=1 << 20, backlog_bytes=1 << 20, join_bytes=1 << 20)
HUGE = (1 << 63) - 1
handles = count(1)


class Member(Core):
    """A core that `sound` looks at when the test is over."""

    made: ClassVar[list[Member]] = []

    def __init__(self, run_id: str, limits: Limits) -> None:
        self.made.append(self)


def view(epoch: int, members: str, history: bytes = HISTORY) -> View:
    """`members` as run_ids of one letter."""
    return View(history, epoch, tuple(members))


def entry(size: int = 10, waiter: int = 0, deadline_ms: int = 0) -> Entry:
    return Entry(next(handles), next(handles), 0, waiter, deadline_ms, size)


def greeting(epoch: int, applied: int, assigned: int, history: bytes = HISTORY) -> Greeting:
    return Greeting(epoch, history, applied, assigned)


def put(core: Core, updates: int = 1, size: int = 10) -> int:
    """The last sn assigned."""
    return [core.assign(entry(size)) for _ in range(updates)][-1]


def receive(core: Core, batch: Batch, connection: int = 1) -> Verdict:
    """What a shell does with a batch."""
    verdict, skip = core.on_batch(batch, connection)
    if verdict == Verdict.ACCEPTED:
        for _ in range(batch.count - skip):
            assert core.append(entry(), batch.assigned)
        core.batch_applied(batch)
    return verdict


def shake_hands(before: Core, after: Core, connection: int = 1) -> None:
    verdict, welcome = after.on_greet(before.position(), before.run_id, connection)
    assert verdict == Verdict.ACCEPTED and welcome is not None
    assert before.on_welcome(welcome, after.run_id) == Verdict.ACCEPTED


def forward(before: Core, after: Core, connection: int = 1, max_bytes: int = 1 << 20) -> list[Batch]:
    """All batches that are due, received."""
    sent = []
    while batch := before.next_batch(max_bytes):
        assert receive(after, batch, connection) == Verdict.ACCEPTED
        sent.append(batch)
    return sent


def acknowledge(after: Core, before: Core) -> None:
    if after.ack_due():
        assert before.on_ack(after.take_ack(), after.run_id) == Verdict.ACCEPTED


def settle(core: Core) -> list[int]:
    """The sns that were settled; what is trimmed is let go."""
    settled = []
    while due := core.pop_settled():
        settled.append(due[0])
    while core.pop_trimmed():
        pass
    return settled


def chain(members: str = "abc", epoch: int = 1, limits: Limits = ROOMY) -> list[Core]:
    """So many members in step."""
    cores = [Member(run_id, limits) for run_id in members]
    for core in cores:
        assert core.adopt(view(epoch, members)) == Verdict.ACCEPTED
    for before, after in pairwise(cores):
        shake_hands(before, after)
        forward(before, after)
    return cores


def batch_of(epoch: int, first: int, updates: int, assigned: int | None = None) -> Batch:
    return Batch(epoch, epoch if assigned is None else assigned, first, updates, -1, first + updates - 1)


@pytest.fixture(autouse=True)
def sound() -> Iterator[None]:
    """Every member that a test makes has sound state and no lost handle at its end."""
    Member.made.clear()
    yield
    for member in Member.made:
        assert member.check() == []


# ------------------------------------------------------------------------- vR&S section 3: the protocol

def test_an_update_goes_down_the_chain_and_its_acknowledgement_up() -> None:
    """VR&S 3: processed at the head, forwarded to the tail, committed when the tail has it."""
    a, b, c = chain()
    assert put(a, 3) == 2
    assert (a.applied, a.committed) == (2, -1)
    forward(a, b)
    assert (b.applied, b.committed) == (2, -1)
    forward(b, c)
    assert (c.applied, c.committed) == (2, 2)
    acknowledge(c, b)
    acknowledge(b, a)
    assert [core.committed for core in (a, b, c)] == [2, 2, 2]
    assert settle(a) == settle(b) == settle(c) == [0, 1, 2]


def test_update_propagation_invariant() -> None:
    """VR&S 3.1: what a member has is a prefix of what its predecessor has, at every moment."""
    cores = chain("abcd")
    for turn in range(12):
        put(cores[0], turn % 3 + 1)
        before, after = cores[turn % 3:turn % 3 + 2]
        forward(before, after)
        applied = [core.applied for core in cores]
        assert applied == sorted(applied, reverse=True)


@pytest.mark.parametrize(("members", "roles"), [
    ("a", [Role.SINGLETON]),
    ("ab", [Role.HEAD, Role.TAIL]),
    ("abcd", [Role.HEAD, Role.MIDDLE, Role.MIDDLE, Role.TAIL]),
])
def test_roles(members: str, roles: list[Role]) -> None:
    cores = chain(members)
    assert [core.role() for core in cores] == roles
    assert [core.takes_writes() for core in cores] == [True] + [False] * (len(members) - 1)
    assert [core.serves_reads() for core in cores] == [False] * (len(members) - 1) + [True]


def test_alone_a_member_serves_by_itself_and_brings_its_data_into_the_chain() -> None:
    a = Member("a", ROOMY)
    assert (a.role(), a.takes_writes(), a.serves_reads()) == (Role.ALONE, True, True)
    put(a, 2)
    assert a.committed == 1
    assert a.adopt(view(1, "a")) == Verdict.ACCEPTED
    assert (a.role(), a.applied, a.committed) == (Role.SINGLETON, 1, 1)
    put(a)
    assert a.boundaries == [(0, 0), (2, 1)]


def test_batches_are_cut_by_size_and_hold_at_least_one_update() -> None:
    a, b = chain("ab")
    put(a, 5, size=100)
    assert [batch.count for batch in forward(a, b, max_bytes=350)] == [2, 2, 1]
    put(a, 2, size=1000)
    assert [batch.count for batch in forward(a, b, max_bytes=350)] == [1, 1]


# -------------------------------------------------------------------------- vR&S section 3.2: failures

def test_failure_of_the_head() -> None:
    """VR&S 3.2.1: its successor is the head; what was never forwarded is lost."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    put(a)
    for core in (b, c):
        core.adopt(view(2, "bc"))
    assert (b.role(), b.applied) == (Role.HEAD, 1)
    assert put(b) == 2
    assert b.boundaries == [(0, 1), (2, 2)]
    shake_hands(b, c, 2)
    assert [batch.assigned for batch in forward(b, c, 2)] == [1, 2]
    assert (c.applied, c.committed) == (2, 2)


def test_failure_of_the_tail() -> None:
    """VR&S 3.2.2: all that its predecessor has applied is committed, once that is in step in the new view."""
    a, b, c = chain()
    put(a, 3)
    forward(a, b)
    for core in (a, b):
        core.adopt(view(2, "ab"))
    assert (b.role(), b.serves_reads(), b.committed) == (Role.TAIL, False, -1)
    shake_hands(a, b, 2)
    assert forward(a, b, 2)[0].count == 0
    assert (b.serves_reads(), b.committed) == (True, 2)
    acknowledge(b, a)
    assert settle(a) == [0, 1, 2]
    assert c.applied == -1


def test_failure_in_the_middle() -> None:
    """VR&S 3.2.3: the predecessor sends what the successor lacks from its Sent, before anything newer."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    forward(b, c)
    put(a, 2)
    forward(a, b)
    for core in (a, c):
        core.adopt(view(2, "ac"))
    put(a)
    shake_hands(a, c, 2)
    sent = forward(a, c, 2)
    assert [(batch.first, batch.count, batch.assigned) for batch in sent] == [(2, 2, 1), (4, 1, 2)]
    assert c.committed == 4
    assert a.resent == 2


def test_chain_of_one_commits_what_it_has() -> None:
    a, _ = chain("ab")
    put(a, 2)
    assert a.committed == -1
    a.adopt(view(2, "a"))
    assert (a.committed, a.role()) == (1, Role.SINGLETON)


# ---------------------------------------------------------------------------- the handshake and resends

@pytest.mark.parametrize(("welcome", "verdict"), [
    (greeting(2, 3, 1), Verdict.ACCEPTED),
    (greeting(2, 5, 2), Verdict.ACCEPTED),
    (greeting(2, -1, -1), Verdict.TOO_FAR_BEHIND),
    (greeting(2, 1, 1), Verdict.TOO_FAR_BEHIND),
    (greeting(2, 2, 1), Verdict.ACCEPTED),
    (greeting(2, 6, 2), Verdict.DIVERGED),  # more than we have
    (greeting(2, -2, -1), Verdict.DIVERGED),
    (greeting(2, 4, 1), Verdict.DIVERGED),  # the same sn, but assigned by the head before
    (greeting(2, 3, 2), Verdict.DIVERGED),
    (greeting(2, HUGE, HUGE), Verdict.DIVERGED),
    (greeting(2, 3, 1, OTHER), Verdict.OTHER_HISTORY),
    (greeting(1, 3, 1), Verdict.STALE),
    (greeting(3, 3, 1), Verdict.BEHIND),
])
def test_welcome(welcome: Greeting, verdict: Verdict) -> None:
    """Two positions agree up to the lower one only if that sn has the same assigning epoch in both."""
    a = Member("a", ROOMY)
    a.learn(view(1, "x"))
    a.restore(HISTORY, 2, [(0, 1)])  # its log begins with sn 3
    put_as_learner(a, 1, epoch=1)
    a.adopt(view(2, "ab"))
    put(a, 2)
    assert a.boundaries == [(0, 1), (4, 2)]
    assert a.on_welcome(welcome, "b") == verdict
    assert a.streaming == (verdict == Verdict.ACCEPTED)
    if verdict == Verdict.ACCEPTED:
        assert a.next_sn == welcome.applied + 1


def put_as_learner(core: Core, updates: int, epoch: int) -> None:
    for _ in range(updates):
        assert core.append(entry(), epoch)


def test_a_welcome_counts_from_the_successor_only() -> None:
    a, _, _ = chain()
    a.successor_lost()
    assert a.on_welcome(greeting(1, -1, -1), "c") == Verdict.STRANGER
    assert not a.streaming


@pytest.mark.parametrize(("greet", "sender", "verdict"), [
    (greeting(1, 3, 1), "a", Verdict.ACCEPTED),
    (greeting(1, -1, -1), "a", Verdict.ACCEPTED),  # late: the predecessor decides from our welcome
    (greeting(1, 3, 1), "c", Verdict.STRANGER),
    (greeting(1, 3, 1), "b", Verdict.STRANGER),
    (greeting(1, 3, 1, OTHER), "a", Verdict.OTHER_HISTORY),
    (greeting(0, 3, 1), "a", Verdict.STALE),
    (greeting(2, 3, 1), "a", Verdict.BEHIND),
])
def test_greet(greet: Greeting, sender: str, verdict: Verdict) -> None:
    a, b, _ = chain()
    put(a, 2)
    forward(a, b)
    got, welcome = b.on_greet(greet, sender, 9)
    assert got == verdict
    assert welcome == (greeting(1, 1, 1) if verdict == Verdict.ACCEPTED else None)
    assert receive(b, batch_of(1, 2, 1), 9) == (verdict if verdict == Verdict.ACCEPTED else Verdict.NOT_GREETED)


def test_a_diverged_successor_is_detected() -> None:
    """A head that was cut off went on numbering: the same sns, but of an older epoch."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    put(a, 2)  # never forwarded
    b.adopt(view(2, "bc"))
    c.adopt(view(2, "bc"))
    put(b, 3)
    for core in (a, b):
        core.adopt(view(3, "ba"))
    verdict, welcome = a.on_greet(b.position(), "b", 5)
    assert verdict == Verdict.ACCEPTED and welcome == greeting(3, 3, 1)
    assert b.on_welcome(welcome, "a") == Verdict.DIVERGED
    assert b.next_batch(1 << 20) is None


def test_only_the_newest_greeted_connection_counts() -> None:
    a, b = chain("ab")
    put(a)
    late = a.next_batch(1 << 20)
    assert late is not None
    shake_hands_again(a, b, 2)
    assert receive(b, late, 1) == Verdict.NOT_GREETED
    forward(a, b, 2)
    assert b.applied == 0


def shake_hands_again(before: Core, after: Core, connection: int) -> None:
    before.successor_lost()
    assert before.next_batch(1 << 20) is None
    shake_hands(before, after, connection)


def test_after_a_handshake_with_nothing_lacking_an_empty_batch_says_so() -> None:
    a, b = chain("ab")
    put(a, 2)
    forward(a, b)
    shake_hands_again(a, b, 2)
    assert forward(a, b, 2) == [Batch(1, 1, 2, 0, -1, 1)]
    assert a.next_batch(1 << 20) is None
    assert a.resent == 0


def test_lost_batches_are_sent_again() -> None:
    a, b = chain("ab")
    put(a, 3)
    assert a.next_batch(1 << 20) is not None  # lost with its connection
    shake_hands_again(a, b, 2)
    assert [batch.first for batch in forward(a, b, 2)] == [0]
    assert (b.applied, a.resent) == (2, 3)


def test_several_greetings_in_a_row_set_nothing_back() -> None:
    """Each of several batches without a handshake asks for a greeting; what is sent after the first welcome counts."""
    a, b = chain("ab", limits=ROOMY._replace(backlog_bytes=0))
    a.successor_lost()
    _, first = b.on_greet(a.position(), "a", 1)
    _, second = b.on_greet(a.position(), "a", 1)
    assert first is not None and second is not None
    assert a.on_welcome(first, "b") == Verdict.ACCEPTED
    put(a, 3)
    forward(a, b)
    acknowledge(b, a)
    settle(a)
    assert a.log_first == 3
    assert a.on_welcome(second, "b") == Verdict.ACCEPTED
    assert (a.next_sn, a.next_batch(1 << 20)) == (3, None)


# ---------------------------------------------------------------- rule 1: in order, no gap, each once

@pytest.mark.parametrize(("batch", "verdict", "skip"), [
    (batch_of(2, 4, 2), Verdict.ACCEPTED, 0),
    (batch_of(2, 2, 4, 1), Verdict.NONSENSE, 0),  # new updates of an epoch before our newest
    (batch_of(2, 3, 3, 2), Verdict.ACCEPTED, 1),
    (batch_of(2, 3, 1, 2), Verdict.ACCEPTED, 1),  # all here already
    (batch_of(2, 0, 3, 1), Verdict.ACCEPTED, 3),  # ... of an older epoch, too
    (batch_of(2, 4, 0), Verdict.ACCEPTED, 0),
    (batch_of(2, 5, 1), Verdict.GAP, 0),
    (batch_of(2, 5, 0), Verdict.GAP, 0),
    (batch_of(1, 4, 1), Verdict.STALE, 0),
    (batch_of(3, 4, 1), Verdict.BEHIND, 0),
    (batch_of(2, 4, 1, 3), Verdict.NONSENSE, 0),  # assigned in an epoch that its sender is not in yet
    (batch_of(2, 4, 1, -1), Verdict.NONSENSE, 0),
    (batch_of(2, -1, 2), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 1)._replace(count=-1), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 1)._replace(first=HUGE, count=HUGE), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 2)._replace(upto=3), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 2)._replace(committed=HUGE), Verdict.ACCEPTED, 0),
    (batch_of(2, 4, 2)._replace(committed=-HUGE), Verdict.ACCEPTED, 0),
])
def test_batch(batch: Batch, verdict: Verdict, skip: int) -> None:
    _, _, c = in_epoch_two_with_four_updates()
    assert c.on_batch(batch, 2) == (verdict, skip)
    if verdict == Verdict.ACCEPTED:
        assert receive(c, batch, 2) == Verdict.ACCEPTED
        assert c.applied == max(3, batch.first + batch.count - 1)
        assert c.committed == c.applied  # the tail's


def in_epoch_two_with_four_updates() -> list[Core]:
    """SNs 0 to 2 of epoch 1, 3 of epoch 2."""
    a, b, c = chain()
    put(a, 3)
    forward(a, b)
    forward(b, c)
    for core in (b, c):
        core.adopt(view(2, "bc"))
    put(b)
    shake_hands(b, c, 2)
    forward(b, c, 2)
    assert c.applied == 3
    return [a, b, c]


def test_a_batch_before_the_handshake_is_refused() -> None:
    _, b, _ = chain()
    b.adopt(view(2, "abc"))
    assert receive(b, batch_of(2, 0, 1)) == Verdict.NOT_GREETED


def test_a_middle_commits_no_more_than_it_has() -> None:
    a, b, _ = chain()
    put(a, 2)
    batch = a.next_batch(1 << 20)
    assert batch is not None
    receive(b, batch._replace(committed=HUGE))
    assert b.committed == b.applied == 1


# ------------------------------------------------------------------------------------ rule 2: fencing

def test_a_fenced_member_serves_nothing_until_it_has_the_view() -> None:
    a, = chain("a")
    assert a.takes_writes() and a.serves_reads()
    assert a.judge_epoch(3) == Verdict.BEHIND
    assert a.fenced() and not a.takes_writes() and not a.serves_reads()
    a.adopt(view(2, "a"))
    assert a.fenced() and not a.takes_writes()
    a.adopt(view(3, "a"))
    assert not a.fenced() and a.takes_writes() and a.serves_reads()


@pytest.mark.parametrize("message", [
    lambda core: core.on_batch(batch_of(1, 0, 1), 1)[0],
    lambda core: core.on_greet(greeting(1, 0, 1), "a", 1)[0],
    lambda core: core.on_welcome(greeting(1, -1, -1), "c"),
    lambda core: core.on_ack(Ack(1, 0), "c"),
])
def test_every_message_of_an_older_epoch_is_refused_and_changes_nothing(message) -> None:  # type: ignore[no-untyped-def]
    a, b, _ = chain()
    put(a)
    forward(a, b)
    b.adopt(view(2, "abc"))
    before = (b.applied, b.committed, b.streaming, b.position())
    assert message(b) == Verdict.STALE
    assert (b.applied, b.committed, b.streaming, b.position()) == before
    assert b.refused_stale == 1


def test_a_removed_head_cannot_commit() -> None:
    """Its updates come to members in a newer epoch, and so do acknowledgements to it from none."""
    a, b, c = chain()
    for core in (b, c):
        core.adopt(view(2, "bc"))
    put(a)
    batch = a.next_batch(1 << 20)
    assert batch is not None
    assert receive(b, batch) == Verdict.STALE
    assert a.on_ack(Ack(2, 0), "c") == Verdict.BEHIND  # now it knows
    assert (a.committed, a.takes_writes()) == (-1, False)
    a.adopt(view(2, "bc"))
    assert (a.role(), a.committed) == (Role.REMOVED, -1)
    assert a.on_ack(Ack(2, 0), "c") == Verdict.STRANGER
    assert not a.takes_writes() and not a.serves_reads()


@pytest.mark.parametrize(("given", "verdict"), [
    (view(3, "ab"), Verdict.ACCEPTED),
    (view(9, "b"), Verdict.ACCEPTED),
    (view(2, "ab"), Verdict.ACCEPTED),  # the same again
    (view(2, "ba"), Verdict.CONFLICT),
    (view(2, "a"), Verdict.CONFLICT),
    (view(1, "ab"), Verdict.STALE),
    (view(-5, "ab"), Verdict.STALE),
    (view(3, "ab", OTHER), Verdict.OTHER_HISTORY),
    (view(2, "ab", OTHER), Verdict.OTHER_HISTORY),
])
def test_adopt(given: View, verdict: Verdict) -> None:
    a = chain("ab", epoch=2)[0]
    assert a.adopt(given) == verdict
    assert a.epoch == (given.epoch if verdict == Verdict.ACCEPTED else 2)


def test_a_member_of_another_chain_says_so() -> None:
    alone = Member("a", ROOMY)
    assert alone.on_batch(batch_of(1, 0, 1), 1)[0] == Verdict.OTHER_HISTORY
    assert alone.on_greet(greeting(1, 0, 1), "b", 1)[0] == Verdict.OTHER_HISTORY
    assert not alone.fenced()


# ------------------------------------------------------------------------------- acknowledgements

@pytest.mark.parametrize(("ack", "sender", "verdict", "committed"), [
    (Ack(1, 1), "c", Verdict.ACCEPTED, 1),
    (Ack(1, 2), "b", Verdict.ACCEPTED, 2),
    (Ack(1, -1), "b", Verdict.ACCEPTED, 0),  # cumulative: it never goes back
    (Ack(1, 3), "b", Verdict.NONSENSE, 0),  # more than we have
    (Ack(1, -2), "b", Verdict.NONSENSE, 0),
    (Ack(1, HUGE), "b", Verdict.NONSENSE, 0),
    (Ack(1, 1), "a", Verdict.STRANGER, 0),  # from before us
    (Ack(1, 1), "z", Verdict.STRANGER, 0),
    (Ack(0, 1), "b", Verdict.STALE, 0),
    (Ack(2, 1), "b", Verdict.BEHIND, 0),
])
def test_ack(ack: Ack, sender: str, verdict: Verdict, committed: int) -> None:
    a, _, _ = chain()
    put(a, 3)
    assert a.on_ack(Ack(1, 0), "b") == Verdict.ACCEPTED
    assert a.on_ack(ack, sender) == verdict
    assert a.committed == committed


def test_one_acknowledgement_for_all_that_was_applied_in_a_pass() -> None:
    a, b = chain("ab")
    put(a, 50)
    forward(a, b)
    assert b.ack_due()
    assert b.take_ack() == Ack(1, 49)
    assert not b.ack_due()


def test_the_tail_tells_the_head_itself_and_the_middle_relies_on_it() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    assert c.head_ack_due()
    a.on_ack(c.take_head_ack(), "c")
    assert not c.head_ack_due()
    ack = c.take_ack()
    assert ack == Ack(1, 0, head_told=True)
    b.on_ack(ack, "c")
    assert (a.committed, b.committed, b.ack_due()) == (0, 0, False)
    b.tick()  # in trust, but not for ever
    assert b.ack_due()
    assert b.take_ack() == Ack(1, 0)


def test_without_a_link_to_the_head_the_acknowledgement_promises_nothing() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    ack = c.take_ack()
    assert not ack.head_told
    b.on_ack(ack, "c")
    assert b.ack_due()
    acknowledge(b, a)
    assert a.committed == 0


def test_a_lost_link_to_the_head_takes_the_promise_back() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    c.take_head_ack()  # lost with its link
    b.on_ack(c.take_ack(), "c")
    c.head_lost()
    assert c.head_ack_due() and c.ack_due()
    assert c.take_ack() == Ack(1, 0)
    assert a.committed == -1


def test_a_lost_link_to_the_predecessor_has_it_told_again() -> None:
    a, b = chain("ab")
    put(a)
    forward(a, b)
    b.take_ack()
    b.predecessor_lost()
    assert b.ack_due()


def test_only_a_long_chain_has_the_short_cut() -> None:
    assert [core.told_head() for core in chain("ab")] == [None, None]
    assert [core.told_head() for core in chain("abcd")] == [None, None, None, "a"]


def test_in_a_chain_of_four_each_middle_tells_the_next() -> None:
    a, b, c, d = chain("abcd")
    put(a)
    for before, after in ((a, b), (b, c), (c, d)):
        forward(before, after)
    d.take_head_ack()
    c.on_ack(d.take_ack(), "d")
    assert c.ack_due()  # not the second member: the promise goes no further
    ack = c.take_ack()
    assert not ack.head_told
    b.on_ack(ack, "c")
    assert b.ack_due()


# ---------------------------------------------------------------------------------- rule 9: bounds

COST = 10 + ENTRY_OVERHEAD


@pytest.mark.parametrize(("before", "size", "room"), [
    (0, 1, True),
    (0, 5 * COST, True),  # an empty log takes any that fits
    (4, COST, True),
    (4, COST + 1, False),
    (5, 1, False),
])
def test_the_head_holds_writers_back(before: int, size: int, room: bool) -> None:
    a, _ = chain("ab", limits=ROOMY._replace(log_bytes=5 * COST))
    for _ in range(before):
        put(a)
    assert a.has_room(size) == room
    assert a.fits(size)
    assert not a.fits(5 * COST + 1)


def test_room_comes_back_when_updates_are_settled() -> None:
    a, _ = chain("ab", limits=ROOMY._replace(log_bytes=2 * COST))
    put(a, 2)
    a.on_ack(Ack(1, 0), "b")
    assert not a.has_room(COST)
    assert settle(a) == [0]
    assert a.has_room(COST)


def test_the_backlog_is_trimmed_and_uncommitted_updates_are_not() -> None:
    a, _ = chain("ab", limits=ROOMY._replace(backlog_bytes=3 * COST))
    put(a, 10)
    settle(a)
    assert (a.log_first, a.unsettled_bytes) == (0, 10 * COST)
    a.on_ack(Ack(1, 5), "b")
    assert a.pop_trimmed() is None  # not before it is settled
    settle(a)
    assert (a.log_first, a.log_bytes, a.unsettled_bytes) == (3, 7 * COST, 4 * COST)
    a.on_ack(Ack(1, 9), "b")
    settle(a)
    assert (a.log_first, a.log_bytes) == (7, 3 * COST)


def test_trimming_gives_back_what_went_in() -> None:
    a, = chain("a", limits=ROOMY._replace(backlog_bytes=0))
    given = entry()._replace(client=next(handles))
    a.assign(given)
    assert a.owned() == {given.key, given.value, given.client}
    a.pop_settled()
    assert a.pop_trimmed() == given
    assert a.owned() == frozenset()


def test_the_ring_grows_and_goes_round() -> None:
    a, b = chain("ab", limits=ROOMY._replace(backlog_bytes=100 * COST))
    for turn in range(40):
        put(a, 73)
        if turn % 4 == 3:
            forward(a, b)
            acknowledge(b, a)
            settle(a)
            settle(b)
    put(a, 5000)
    assert a.check() == []
    forward(a, b)
    acknowledge(b, a)
    assert settle(a)[-1] == a.applied == 40 * 73 + 5000 - 1
    assert a.log_bytes == 100 * COST


# --------------------------------------------------------------------------------- rule 6: waiters

def test_waiters_are_answered_in_order_and_once() -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(3)]
    for waiter in waiters:
        a.assign(entry(waiter=waiter, deadline_ms=100))
    a.on_ack(Ack(1, 1), "b")
    assert [due[1].waiter for due in iter(a.pop_settled, None) if due] == waiters[:2]
    assert [a.pop_expired(99), a.pop_expired(100), a.pop_expired(100)] == [0, waiters[2], 0]
    a.on_ack(Ack(1, 2), "b")
    settled = a.pop_settled()
    assert settled is not None and settled[1].waiter == 0


def test_expiry_goes_in_the_order_of_the_updates() -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(4)]
    a.assign(entry())
    for waiter, deadline_ms in zip(waiters, [10, 20, 30, 40], strict=True):
        a.assign(entry(waiter=waiter, deadline_ms=deadline_ms))
        a.assign(entry())
    assert a.pop_expired(9) == 0
    assert [a.pop_expired(25), a.pop_expired(25), a.pop_expired(25)] == [*waiters[:2], 0]
    last = next(handles)
    a.assign(entry(waiter=last, deadline_ms=50))
    assert [a.pop_expired(50) for _ in range(4)] == [*waiters[2:], last, 0]


@pytest.mark.parametrize("members", ["b", "ba", ""])
def test_a_head_that_is_head_no_more_orphans_its_waiters(members: str) -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(3)]
    for waiter in waiters:
        a.assign(entry(waiter=waiter, deadline_ms=HUGE))
    a.on_ack(Ack(1, 0), "b")
    assert a.pop_orphan() == 0
    a.adopt(view(2, members))
    due = a.pop_settled()
    assert due is not None and due[1].waiter == waiters[0]  # that one is committed
    assert [a.pop_orphan() for _ in range(3)] == [*waiters[1:], 0]


def test_a_head_that_stays_head_keeps_its_waiters() -> None:
    a, _ = chain("ab")
    waiter = next(handles)
    a.assign(entry(waiter=waiter, deadline_ms=HUGE))
    a.adopt(view(2, "a"))
    assert a.pop_orphan() == 0
    due = a.pop_settled()
    assert due is not None and due[1].waiter == waiter


# -------------------------------------------------------------------------------------- joining

def copied(tail: Core, run_id: str = "n", limits: Limits = ROOMY) -> Core:
    """A learner that has the tail's snapshot."""
    learner = Member(run_id, limits)
    learner.learn(tail.view)
    assert learner.role() == Role.LEARNER
    assert learner.restore(HISTORY, tail.applied, tail.boundaries) == Verdict.ACCEPTED
    return learner


def test_hand_over_to_a_learner() -> None:
    """VR&S 3.3: the new tail gets the history of the old one, which goes on serving meanwhile."""
    a, b = chain("ab")
    put(a, 3)
    forward(a, b)
    assert b.pin() and b.pinned == 3
    n = copied(b)
    put(a, 2)
    forward(a, b)
    assert b.feed("n") and b.serves_reads()
    shake_hands(b, n)
    assert [(batch.first, batch.count) for batch in forward(b, n)] == [(3, 2)]
    assert (n.applied, n.committed, n.serves_reads()) == (4, 4, False)
    acknowledge(n, b)
    assert b.pinned == 5
    put(a)
    forward(a, b)
    n.adopt(view(2, "abn"))
    assert n.role() == Role.TAIL and not n.serves_reads()
    b.adopt(view(2, "abn"))
    assert not b.serves_reads()
    shake_hands(b, n, 2)
    batch = b.next_batch(1 << 20)
    assert batch is not None
    assert receive(n, batch._replace(count=0, upto=5), 2) == Verdict.ACCEPTED
    assert n.in_step and not n.serves_reads()  # b had 5 when they shook hands
    assert receive(n, batch, 2) == Verdict.ACCEPTED
    assert n.serves_reads()
    acknowledge(n, b)
    assert b.pinned == -1


def test_a_learners_acknowledgement_moves_the_pin_and_commits_nothing() -> None:
    a, b = chain("ab")
    assert b.pin()
    n = copied(b)
    b.feed("n")
    put(a, 2)
    shake_hands(b, n)
    forward(a, b)
    forward(b, n)
    committed = b.committed
    acknowledge(n, b)
    assert (b.pinned, b.committed) == (2, committed)
    assert b.on_ack(Ack(1, 2), "n") == Verdict.NONSENSE


def test_who_can_pin() -> None:
    a, b = chain("ab")
    assert not a.pin()
    assert not a.feed("n") and not b.feed("n")  # nothing is pinned
    assert b.pin() and b.feed("n")
    b.adopt(view(2, "ab"))
    assert not b.pin()  # not in step yet
    assert not Member("z", ROOMY).pin()


def test_a_pin_holds_the_log_up_to_the_limit_and_then_breaks() -> None:
    limits = Limits(1 << 20, backlog_bytes=2 * COST, join_bytes=6 * COST)
    a, = chain("a", limits=limits)
    put(a, 3)
    settle(a)
    assert a.pin() and a.pinned == 3
    put(a, 6)
    settle(a)
    assert (a.log_first, a.pinned, a.pin_broken) == (3, 3, False)
    a.feed("n")
    put(a)
    settle(a)
    assert (a.pinned, a.pin_broken, a.feeding, a.streaming) == (-1, True, False, False)
    assert a.log_bytes == 2 * COST
    assert a.pin() and not a.pin_broken


@pytest.mark.parametrize("members", ["ab", "b", "abx"])
def test_a_view_without_the_learner_ends_the_join(members: str) -> None:
    _, b = chain("ab")
    assert b.pin() and b.feed("n")
    b.adopt(view(2, members))
    assert (b.pinned, b.feeding) == (-1, False)


def test_a_join_that_is_off() -> None:
    _, b = chain("ab")
    assert b.pin() and b.feed("n")
    b.unpin()
    assert (b.pinned, b.feeding, b.successor()) == (-1, False, None)
    assert b.on_welcome(greeting(1, -1, -1), "n") == Verdict.STRANGER


def test_a_removed_member_starts_afresh_as_a_learner() -> None:
    a, b = chain("ab")
    put(a, 3)
    a.adopt(view(2, "b"))
    b.adopt(view(2, "b"))
    while a.pop_any():
        pass
    a.learn(view(2, "b"))
    assert (a.role(), a.applied, a.boundaries, a.owned()) == (Role.LEARNER, -1, [], frozenset())
    a.adopt(view(3, "b"))
    assert a.role() == Role.REMOVED


# ------------------------------------------------------------------------ positions from elsewhere

@pytest.mark.parametrize(("applied", "boundaries", "verdict"), [
    (5, [(0, 1)], Verdict.ACCEPTED),
    (5, [(0, 0), (3, 2), (5, 7)], Verdict.ACCEPTED),
    (-1, [], Verdict.ACCEPTED),
    (5, [(4, 1)], Verdict.ACCEPTED),  # older boundaries have fallen out
    (-2, [], Verdict.NONSENSE),
    (HUGE, [(0, 1)], Verdict.NONSENSE),  # there would be no next sn
    (-HUGE, [(0, 1)], Verdict.NONSENSE),
    (5, [(-1, 1)], Verdict.NONSENSE),
    (5, [(0, -1)], Verdict.NONSENSE),
    (5, [(3, 1), (2, 2)], Verdict.NONSENSE),
    (5, [(3, 1), (3, 2)], Verdict.NONSENSE),
    (5, [(3, 2), (4, 2)], Verdict.NONSENSE),
    (5, [(3, 2), (4, 1)], Verdict.NONSENSE),
    (5, [(0, 1), (6, 2)], Verdict.NONSENSE),  # beyond what is applied
    (-1, [(0, 1)], Verdict.NONSENSE),
])
def test_restore(applied: int, boundaries: Sequence[tuple[int, int]], verdict: Verdict) -> None:
    core = Member("a", ROOMY)
    assert core.restore(HISTORY, applied, boundaries) == verdict
    if verdict == Verdict.ACCEPTED:
        assert (core.role(), core.applied, core.log_first) == (Role.REMOVED, applied, applied + 1)
        assert core.position() == greeting(0, applied, boundaries[-1][1] if boundaries else -1)
        assert not core.takes_writes() and not core.serves_reads()
    else:
        assert (core.role(), core.applied) == (Role.ALONE, -1)


def test_restore_of_another_chains_data() -> None:
    learner = Member("n", ROOMY)
    learner.learn(view(1, "ab"))
    assert learner.restore(OTHER, 5, [(0, 1)]) == Verdict.OTHER_HISTORY
    assert (learner.applied, learner.history) == (-1, HISTORY)


def test_the_table_of_boundaries_keeps_the_newest() -> None:
    a, = chain("a")
    for epoch in range(2, MAX_BOUNDARIES + 4):
        put(a)
        a.adopt(view(epoch, "a"))
    put(a)
    assert len(a.boundaries) == MAX_BOUNDARIES
    assert a.boundaries[-1] == (a.applied, a.epoch)
    assert (a.epoch_of(0), a.epoch_of(a.applied), a.epoch_of(a.applied - 1)) == (-1, a.epoch, a.epoch - 1)


def test_forget() -> None:
    _, b = chain("ab")
    b.forget()
    assert (b.role(), b.history, b.epoch, b.applied) == (Role.ALONE, b"", 0, -1)
    assert b.takes_writes() and b.adopt(view(1, "b", OTHER)) == Verdict.ACCEPTED


# ---------------------------------------------------------------------- the watch over the handles

def test_a_handle_that_goes_in_twice_is_reported() -> None:
    core = Core("a", ROOMY)
    given = entry()
    core.assign(given)
    core.assign(given)
    assert any("went in twice" in line for line in core.check())


def test_a_log_that_is_dropped_with_its_handles_is_reported() -> None:
    core = Core("a", ROOMY)
    core.assign(entry())
    core.learn(view(1, "b"))
    assert any("2 handles are owned, 0 are in the log" in line for line in core.check())
