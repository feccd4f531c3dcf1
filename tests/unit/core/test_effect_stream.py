# SPDX-License-Identifier: Apache-2.0
"""The log of a chain of all commands: bytes in a ring, cut where commands end, kept until the own server has them."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_extension.core import KIND_ALL, NO_LIMIT, Core, Limits, Verdict

from .members import HISTORY, ROOMY, Member, acknowledge, forward, receive, settle, shake_hands, shake_hands_again, view
from .members import chain as chain_of_puts

KIB = 1024
FIRST_RING = 64 * KIB
MARK_APART = 16 * KIB
TIGHT = Limits(log_bytes=1 << 20, backlog_bytes=1000, join_bytes=5000)


def chain(members: str = "abc", limits: Limits = ROOMY) -> list[Core]:
    return chain_of_puts(members, limits=limits, kind=KIND_ALL)


def command(number: int, size: int) -> bytes:
    """Bytes that stand for one command, different from those of any other."""
    return Random(number).randbytes(size)


def write(head: Core, *sizes: int) -> None:
    for size in sizes:
        assert head.append_own(command(head.applied, size))


def execute(*members: Core) -> None:
    for member in members:
        member.executed = member.applied


def commit(members: list[Core], connection: int = 1) -> None:
    """Forwards what there is, executes it, and carries the acknowledgements back."""
    for before, after in pairwise(members):
        forward(before, after, connection)
        execute(after)
    for after, before in zip(members[:0:-1], members[-2::-1], strict=True):
        acknowledge(after, before)
    for member in members:
        settle(member)


# ------------------------------------------------------------------------------------------------------ the ring


steps = st.tuples(st.sampled_from(["write", "ahead", "commit", "tick"]), st.integers(1, 40 * KIB))


@given(st.lists(steps, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_ring_keeps_its_bytes_as_it_wraps_grows_and_shrinks(script: list[tuple[str, int]]) -> None:
    (head,) = chain("a", Limits(log_bytes=1 << 30, backlog_bytes=50 * KIB, join_bytes=0))
    stream, ahead = b"", b""
    for name, size in script:
        if name == "write":
            more = command(size, size)
            assert head.append_own(more)
            stream, ahead = stream + ahead + more, b""
        elif name == "ahead":
            more = command(-size, size)
            head.read_ahead(more)
            ahead += more
        elif name == "commit":
            execute(head)
            settle(head)
            assert head.log_bytes <= 50 * KIB
        else:
            head.tick()
        first = head.log_first
        assert head.bytes_at(first, head.applied + 1 - first) == stream[first:]
        assert head.check() == []


def test_what_the_tap_has_read_of_a_command_survives_a_ring_that_shrinks() -> None:
    """The ring has more room than the whole commands need when a tick comes in the midst of a large one."""
    (head,) = chain("a", Limits(log_bytes=1 << 30, backlog_bytes=0, join_bytes=0))
    write(head, 300 * KIB)
    settle(head)
    head.read_ahead(b"x" * 100 * KIB)
    for _ in range(4):
        head.tick()
    assert head.append_own(b"y" * 10)
    assert head.bytes_at(head.log_first, 100 * KIB + 10) == b"x" * 100 * KIB + b"y" * 10


def test_a_ring_shrinks_to_its_first_size_and_not_below() -> None:
    (head,) = chain("a", Limits(log_bytes=1 << 30, backlog_bytes=0, join_bytes=0))
    write(head, 1000 * KIB)
    settle(head)
    for _ in range(20):
        head.tick()
    assert head.capacity == FIRST_RING


# ----------------------------------------------------------------------------------------------------- the cuts


@given(st.lists(st.integers(1, 12 * KIB), min_size=1, max_size=40), st.integers(1, 60 * KIB), st.data())
@settings(max_examples=80, deadline=None)
def test_a_message_ends_where_a_command_ends(sizes: list[int], most: int, data: st.DataObject) -> None:
    """However the marks were merged meanwhile, and wherever the messages before were cut."""
    head, tail = chain("ab")
    ends = {-1}
    for size in sizes:
        write(head, size)
        ends.add(head.applied)
        if data.draw(st.booleans()):
            for batch in forward(head, tail, max_bytes=most):
                assert batch.first + batch.count - 1 in ends
                assert 0 < batch.count <= max(most, MARK_APART + 12 * KIB)
    forward(head, tail, max_bytes=most)
    assert tail.applied == head.applied
    assert tail.bytes_at(0, tail.applied + 1) == head.bytes_at(0, head.applied + 1)


def test_a_large_command_goes_whole() -> None:
    head, tail = chain("ab")
    write(head, 10, 900 * KIB, 10)
    assert [batch.count for batch in forward(head, tail, max_bytes=100 * KIB)] == [10, 900 * KIB, 10]


def test_a_message_may_begin_between_marks() -> None:
    """A successor that was away ends where its own messages ended, of which this member has merged the marks."""
    head, tail = chain("ab")
    write(head, 50, 50)
    forward(head, tail)
    write(head, *[3000] * 20)
    assert tail.applied + 1 not in head.marks
    shake_hands_again(head, tail, 2)
    batches = forward(head, tail, 2, max_bytes=20 * KIB)
    assert batches[0].first == 100 and len(batches) > 1
    assert all((batch.first + batch.count - 100) % 3000 == 0 for batch in batches)
    assert tail.applied == head.applied


def test_a_message_has_bytes_of_one_assigning_epoch() -> None:
    a, b, c = chain("abc")
    write(a, 100)
    forward(a, b)
    for member in (a, b, c):
        assert member.adopt(view(2, "ab", kind=KIND_ALL)) == Verdict.ACCEPTED
    shake_hands(a, b, 2)
    forward(a, b, 2)
    write(a, 50, 7)
    forward(a, b, 2)
    assert b.pin()
    assert c.relearn(view(2, "ab", kind=KIND_ALL)) == Verdict.ACCEPTED
    assert b.feed("c")
    shake_hands(b, c, 3)
    assert [(each.assigned, each.first, each.count) for each in forward(b, c, 3)] == [(1, 0, 100), (2, 100, 57)]
    assert c.boundaries == b.boundaries == [(0, 1), (100, 2)]


def test_bytes_that_were_received_twice_are_skipped() -> None:
    head, tail = chain("ab")
    write(head, 100, 50)
    batch = head.next_batch(1 << 20)
    assert batch is not None
    effects = head.bytes_at(0, 150)
    assert receive(tail, batch._replace(count=100), 1, effects[:100]) == Verdict.ACCEPTED
    assert receive(tail, batch, 1, effects) == Verdict.ACCEPTED
    assert tail.bytes_at(0, 150) == effects


# ---------------------------------------------------------------------------------- what the own server has executed


def test_a_tail_commits_what_its_server_has_executed_and_no_more() -> None:
    head, tail = chain("ab")
    write(head, 100, 100)
    forward(head, tail)
    assert tail.committed == -1 and not tail.ack_due()
    tail.executed = 99
    assert tail.committed == 99
    acknowledge(tail, head)
    assert head.committed == 99


def test_a_tail_serves_reads_when_its_server_has_all_that_the_predecessor_had() -> None:
    a, b, c = chain("abc")
    write(a, 100)
    forward(a, b)
    forward(b, c)
    for member in (c, a, b):
        member.adopt(view(2, "ab", kind=KIND_ALL))
    shake_hands(a, b, 2)
    forward(a, b, 2)
    assert not b.serves_reads()
    b.executed = 99
    assert b.serves_reads()


def test_a_new_head_takes_writes_when_its_server_has_all_of_its_log() -> None:
    a, b = chain("ab")
    write(a, 100, 50)
    forward(a, b)
    b.executed = 99
    b.adopt(view(2, "b", kind=KIND_ALL))
    assert not b.takes_writes() and b.committed == 99
    b.executed = 149
    assert b.takes_writes() and b.committed == 149


def test_a_head_takes_writes_while_its_tap_is_behind_and_when_the_tap_is_ahead_of_the_last_look() -> None:
    (head,) = chain("a")
    head.executed = 500
    write(head, 100)
    assert head.takes_writes() and head.executed == 500
    write(head, 600)
    assert head.takes_writes() and head.executed == 699


def test_the_log_keeps_what_the_own_server_lacks() -> None:
    """Whatever the limits are, and though the tail has it."""
    a, b, c = members = chain("abc", TIGHT)
    write(a, *[100] * 30)
    forward(a, b)
    b.executed = 499
    forward(b, c)
    execute(c)
    acknowledge(c, b)
    settle(b)
    assert (b.committed, b.log_first) == (2999, 500)
    execute(b)
    settle(b)
    assert b.log_bytes == TIGHT.backlog_bytes
    commit(members)
    assert a.log_bytes == c.log_bytes == TIGHT.backlog_bytes


def test_a_learner_acknowledges_what_its_server_has_executed() -> None:
    a, b, c = feeding_chain()
    write(a, 100, 100)
    forward(a, b)
    forward(b, c, 2)
    assert not c.ack_due()
    c.executed = 99
    acknowledge(c, b)
    assert b.pinned == 100


def feeding_chain(limits: Limits = ROOMY) -> list[Core]:
    """A chain of two, and a learner without data that the tail feeds."""
    a, b = chain("ab", limits)
    learner = Member("c", limits)
    learner.learn(view(1, "ab", kind=KIND_ALL))
    assert b.pin() and b.feed("c")
    shake_hands(b, learner, 2)
    forward(b, learner, 2)
    return [a, b, learner]


def test_a_learner_becomes_the_tail_while_its_server_is_behind() -> None:
    a, b, c = feeding_chain()
    write(a, 100)
    forward(a, b)
    execute(b)
    forward(b, c, 2)
    for member in (a, b, c):
        assert member.adopt(view(2, "abc", kind=KIND_ALL)) == Verdict.ACCEPTED
    shake_hands(a, b, 3)
    shake_hands(b, c, 4)
    forward(a, b, 3)
    forward(b, c, 4)
    assert (c.applied, c.committed, c.executed) == (99, 99, -1)    # the old tail has executed and committed it
    assert not c.serves_reads() and c.in_step
    execute(c)
    assert c.serves_reads()


@pytest.mark.parametrize("executed", [-1, 499, 2999])
def test_a_pin_keeps_what_a_snapshot_of_the_own_server_may_lack(executed: int) -> None:
    a, b = chain("ab", Limits(1 << 20, 0, 1 << 20))
    write(a, *[100] * 30)
    forward(a, b)
    b.executed = executed
    assert b.pin() and b.pinned == executed + 1
    execute(b)
    settle(b)
    assert b.log_first == executed + 1


def test_a_pin_breaks_at_its_limit_and_not_before() -> None:
    a, b = chain("ab", TIGHT)
    write(a, *[100] * 30)
    forward(a, b)
    b.executed = 1499
    settle(b)
    assert b.pin() and b.log_first == 500
    execute(b)
    settle(b)
    assert (b.log_first, b.pinned) == (1500, 1500)     # below the pin the limit of the backlog holds
    write(a, *[100] * 40)
    forward(a, b)
    execute(b)
    settle(b)
    assert (b.pinned, b.pin_broken, b.log_bytes) == (-1, True, TIGHT.backlog_bytes)


def test_a_successor_that_lacks_what_was_trimmed_is_told_so() -> None:
    """The log may begin in the midst of a command: no member ends there, so nobody asks for it."""
    a, b = chain("ab", TIGHT)
    write(a, *[700] * 3)
    forward(a, b)
    b.executed = 1399
    acknowledge(b, a)
    settle(a)
    assert a.log_first == 400
    away = b.position()
    assert a.on_welcome(away._replace(applied=-1, assigned=-1), "b") == Verdict.ACCEPTED  # streaming: it counts no more
    a.successor_lost()
    assert a.on_welcome(away._replace(applied=-1, assigned=-1), "b") == Verdict.TOO_FAR_BEHIND
    assert a.on_welcome(away._replace(applied=699, assigned=1), "b") == Verdict.ACCEPTED
    batch = a.next_batch(1)
    assert batch is not None and (batch.first, batch.count) == (700, 1400)


# ------------------------------------------------------------------------------------------ joins, restarts, disks


def test_a_former_head_whose_tap_had_read_all_joins_by_its_log() -> None:
    a, b = chain("ab")
    write(a, 100)
    commit([a, b])
    for member in (b, a):
        member.adopt(view(2, "b", kind=KIND_ALL))
    assert b.pin_from(a.applied, a.epoch_of(a.applied)) == Verdict.ACCEPTED
    assert a.relearn(view(2, "b", kind=KIND_ALL)) == Verdict.ACCEPTED


def test_a_former_head_with_effects_that_its_log_lacks_never_joins_by_its_log() -> None:
    """Its log is a prefix of the chain's, its data is not. The verdict stands until it is copied."""
    a, b = chain("ab")
    write(a, 100)
    commit([a, b])
    a.executed = 150
    for member in (b, a):
        member.adopt(view(2, "b", kind=KIND_ALL))
    assert b.pin_from(a.applied, a.epoch_of(a.applied)) == Verdict.ACCEPTED
    for _ in range(2):
        assert a.relearn(view(2, "b", kind=KIND_ALL)) == Verdict.DIVERGED
    assert a.pop_any() is None
    a.learn(view(2, "b", kind=KIND_ALL))
    assert a.executed == -1


def deposed(executed: int) -> list[Core]:
    """A former head, whose server has executed more than its tap had read, and the member that was alone after it."""
    a, b = chain("ab")
    write(a, 100)
    commit([a, b])
    a.executed = executed
    for member in (b, a):
        member.adopt(view(2, "b", kind=KIND_ALL))
    return [a, b]


def test_a_former_head_that_is_formed_alone_goes_on_behind_its_own_effects() -> None:
    """Who had others in their place is told that it has diverged, and who has less that it is too far behind."""
    a, b = deposed(149)
    write(b, 50)
    assert not a.lacks_own()
    a.adopt(view(3, "a", kind=KIND_ALL))
    assert a.lacks_own()
    a.continue_alone()
    assert not a.lacks_own()
    assert (a.applied, a.committed, a.executed, a.log_first) == (149, 149, 149, 150)
    assert a.boundaries == [(0, 1), (100, 3)]
    assert a.pin_from(b.applied, b.epoch_of(b.applied)) == Verdict.DIVERGED
    assert a.pin_from(99, 1) == Verdict.TOO_FAR_BEHIND
    write(a, 10)
    settle(a)
    assert a.committed == 159


def test_a_former_head_goes_on_alone_when_its_disk_has_its_own_effects() -> None:
    a, _ = deposed(149)
    a.saved(99)
    a.adopt(view(3, "a", kind=KIND_ALL))
    assert not a.lacks_own()
    a.saved(149)
    assert a.lacks_own()


def test_nobody_joins_by_a_log_that_goes_on_elsewhere() -> None:
    """A head that is alone has lost its tap while it kept its log for a server that joins."""
    [a] = chain("a")
    write(a, 100)
    assert a.pin()
    a.executed = 149
    a.continue_alone()
    assert (a.pinned, a.pin_broken) == (-1, True)


def test_a_former_head_whose_tap_still_reads_logs_nothing() -> None:
    """Or bytes of its own would be of an epoch in which the chain has others (rule 1)."""
    a, b = chain("ab")
    write(a, 100)
    commit([a, b])
    a.read_ahead(b"x" * 7)
    a.adopt(view(2, "b", kind=KIND_ALL))
    assert not a.append_own(b"x" * 3)
    assert (a.applied, a.boundaries) == (99, [(0, 1)])


def test_restored_data_are_what_was_executed() -> None:
    member = Member("c", ROOMY)
    assert member.restore(HISTORY, 99, [(0, 1)]) == Verdict.ACCEPTED
    assert member.relearn(view(2, "ab", kind=KIND_ALL)) == Verdict.ACCEPTED
    assert (member.applied, member.executed) == (99, 99)


def test_a_snapshot_at_a_learner_is_what_was_executed() -> None:
    learner = Member("c", ROOMY)
    learner.learn(view(1, "ab", kind=KIND_ALL))
    assert learner.executed == -1
    assert learner.restore(HISTORY, 99, [(0, 1)]) == Verdict.ACCEPTED
    assert learner.executed == 99


def test_a_server_in_a_chain_of_puts_has_executed_what_it_has_applied() -> None:
    a, _ = chain_of_puts("ab")
    assert a.executed == NO_LIMIT and not a.streams
    a.adopt(view(2, "b"))
    a.learn(view(2, "b"))
    assert a.executed == NO_LIMIT


def test_a_position_has_the_epochs_of_what_was_executed() -> None:
    """A server that lags saves data that end before the log's newest epoch begins."""
    a, b = chain("ab")
    write(a, 100)
    commit([a, b])
    for member in (a, b):
        member.adopt(view(2, "ab", kind=KIND_ALL))
    shake_hands(a, b, 2)
    forward(a, b, 2)
    write(a, 100)
    forward(a, b, 2)
    assert b.executed == 99
    assert b.boundaries_up_to(b.executed) == [(0, 1)]
    assert b.boundaries_up_to(100) == b.boundaries == [(0, 1), (100, 2)]
    assert Member("d", ROOMY).restore(HISTORY, b.executed, b.boundaries_up_to(b.executed)) == Verdict.ACCEPTED


def test_a_member_wakes_until_its_disk_has_what_its_server_has_executed() -> None:
    a, b, _ = chain("abc")
    b.saved(-1)
    write(a, 100, 100)
    forward(a, b)
    execute(b)
    assert b.written == 199
    b.saved(99)
    b.check_sleep(saves=True, flushed=99, wakes=True)
    b.saved(199)
    b.check_sleep(saves=True, flushed=199, wakes=False)
