# SPDX-License-Identifier: Apache-2.0
"""design.md, "Restart": what is recorded on a member's own disk, and what a restart makes of it."""

import pytest

from core_extension.core import ENTRY_OVERHEAD, Core, Limits, Role, Verdict

from .members import HISTORY, HUGE, OTHER, ROOMY, Member, chain, entry, forward, put, settle, view

NO_BACKLOG = Limits(log_bytes=1 << 20, backlog_bytes=0, join_bytes=0)


def records(core: Core, max_bytes: int = 1 << 20) -> list[tuple[int, int, int]]:
    made = []
    while record := core.next_record(max_bytes):
        made.append(record)
    return made


def replay(core: Core, record: tuple[int, int, int]) -> Verdict:
    """Applies a record, as a server does."""
    assigned, _, updates = record
    verdict, skip = core.on_record(*record)
    if verdict == Verdict.ACCEPTED:
        for _ in range(updates - skip):
            assert core.append(entry(), assigned)
        core.replayed()
        settle(core)
    return verdict


def restarted(applied: int = -1, assigned: int = 1) -> Core:
    core = Member("a", ROOMY)
    core.record(True)
    assert core.restore(HISTORY, applied, [(0, assigned)] if applied >= 0 else []) == Verdict.ACCEPTED
    return core


# ---------------------------------------------------------------------------------------------- recording


def test_nothing_is_recorded_unasked() -> None:
    a, _ = chain("ab")
    put(a, 3)
    assert records(a) == []


def test_each_update_is_recorded_once() -> None:
    a, b = chain("ab")
    put(a, 2)
    forward(a, b)
    for core in (a, b):
        core.record(True)  # with sn 0 and 1 in the file that it begins with
    put(a, 3)
    forward(a, b)
    assert records(a) == records(b) == [(1, 2, 3)]
    assert records(a) == records(b) == []


def test_a_record_has_one_assigning_epoch_and_a_bounded_size() -> None:
    (a,) = chain("a")
    a.record(True)
    put(a, 3)
    a.adopt(view(2, "a"))
    put(a, 1)
    assert records(a, max_bytes=1) == [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 3, 1)]
    put(a, 3)
    assert records(a, max_bytes=2 * (10 + ENTRY_OVERHEAD)) == [(2, 4, 2), (2, 6, 1)]


def test_what_is_not_recorded_yet_stays_in_the_log() -> None:
    a = chain("a", limits=NO_BACKLOG)[0]
    a.record(True)
    put(a, 3)
    assert settle(a) == [0, 1, 2]
    assert a.log_first == 0
    assert records(a) == [(1, 0, 3)]
    settle(a)
    assert a.log_first == 3


def test_without_a_file_the_log_keeps_nothing_for_it() -> None:
    a = chain("a", limits=NO_BACKLOG)[0]
    a.record(True)
    put(a, 3)
    a.record(False)
    settle(a)
    assert (a.log_first, records(a)) == (3, [])


# --------------------------------------------------------------------------------------------- restarting


def test_a_restart_ends_where_the_records_do() -> None:
    core = restarted()
    assert replay(core, (1, 0, 3)) == Verdict.ACCEPTED
    assert replay(core, (4, 3, 2)) == Verdict.ACCEPTED
    assert (core.role(), core.applied, core.committed, core.settled) == (Role.REMOVED, 4, 4, 4)
    assert core.boundaries == [(0, 1), (3, 4)]
    assert records(core) == []  # the file has them already


def test_the_log_goes_on_from_what_was_replayed() -> None:
    """Members that have less then need no copy."""
    core = restarted(applied=1)
    replay(core, (1, 2, 3))
    assert core.log_first == 2


@pytest.mark.parametrize(("record", "verdict", "applied"), [
    ((1, 3, 2), Verdict.ACCEPTED, 4),
    ((1, 0, 5), Verdict.ACCEPTED, 4),  # of which the data has all but two
    ((1, 0, 3), Verdict.ACCEPTED, 2),
    ((0, 1, 1), Verdict.ACCEPTED, 2),  # here already, from before
    ((1, 4, 1), Verdict.GAP, 2),
    ((0, 3, 1), Verdict.NONSENSE, 2),  # epochs do not go back
    ((-1, 3, 1), Verdict.NONSENSE, 2),
    ((1, -1, 9), Verdict.NONSENSE, 2),
    ((1, 3, -1), Verdict.NONSENSE, 2),
    ((1, HUGE, 2), Verdict.NONSENSE, 2),
])  # fmt: skip
def test_a_record_after_sn_2(record: tuple[int, int, int], verdict: Verdict, applied: int) -> None:
    core = restarted(applied=2)
    assert replay(core, record) == verdict
    assert core.applied == applied


def test_a_record_without_a_history_belongs_nowhere() -> None:
    core = Member("a", ROOMY)
    assert replay(core, (1, 0, 1)) == Verdict.OTHER_HISTORY
    assert core.restore(OTHER, -1, []) == Verdict.ACCEPTED
    assert replay(core, (1, 0, 1)) == Verdict.ACCEPTED


# ------------------------------------------------------------------------------------------------ a backup


def test_a_backup_begins_another_history_and_its_epochs_go_on() -> None:
    core = restarted(5, assigned=7)
    assert core.branch(OTHER) == Verdict.ACCEPTED
    assert (core.role(), core.history, core.applied, core.epoch_of(5)) == (Role.REMOVED, OTHER, 5, 7)
    assert core.adopt(view(8, "a")) == Verdict.OTHER_HISTORY
    assert core.adopt(view(8, "a", OTHER)) == Verdict.ACCEPTED
    assert put(core) == 6 and core.epoch_of(6) == 8


def test_a_member_that_stayed_behind_in_the_old_history_is_no_prefix_of_the_new() -> None:
    core = restarted(5, assigned=7)
    core.branch(OTHER)
    core.adopt(view(8, "ab", OTHER))
    former = restarted(5, assigned=7)
    assert former.adopt(view(8, "ab", OTHER)) == Verdict.OTHER_HISTORY


def test_only_what_was_restored_and_is_in_no_chain_can_begin_another_history() -> None:
    a, b = chain("ab")
    learner, alone = Member("n", ROOMY), Member("s", ROOMY)
    learner.learn(view(1, "ab"))
    b.adopt(view(2, "a"))
    for core in (a, b, learner, alone):
        assert core.branch(OTHER) == Verdict.CONFLICT
