# SPDX-License-Identifier: Apache-2.0
"""The master's decisions: what each makes of a view, and what no sequence of them ever does."""

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chainredis.protocol.errors import CommandError
from chainredis.protocol.reconfiguration import (
    EPOCHS_LEFT_OUT,
    Add,
    Begin,
    Configuration,
    Forget,
    Form,
    Health,
    Reform,
    Remove,
    Repair,
    Returned,
    confirmed,
    reconfigure,
)
from chainredis.protocol.view import MAX_MEMBERS, Member

SEED = bytes(range(32))


def member(number: int) -> Member:
    return Member("h", "10.0.0.1", 7000 + number, f"{number:040x}")


A, B, C, D, E, F = map(member, range(6))
ABC = (A, B, C)


def health(alive: tuple[Member, ...] = (), dead: tuple[Member, ...] = ()) -> Health:
    return Health(frozenset(m.run_id for m in alive), frozenset(m.run_id for m in dead))


def chain(*members: Member) -> Configuration:
    """Built one by one, all of it told."""
    configuration = reconfigure(None, Begin(members[0], SEED))
    for newcomer in members[1:]:
        configuration = Configuration(reconfigure(configuration, Add(newcomer)).view)
    return configuration


def test_first_member_mints_history_and_secret_from_what_it_is_given() -> None:
    view = reconfigure(None, Begin(A, SEED)).view
    assert (view.history, view.secret) == (SEED[:16].hex(), SEED[16:].hex())
    assert (view.epoch, view.members) == (1, (A,))


def test_epochs_go_on_after_those_of_a_backup() -> None:
    """A position is compared by the epoch of its last update: no two of one history may be the same."""
    assert reconfigure(None, Begin(A, SEED, assigned=57)).view.epoch == 58
    lost = chain(A, B)
    assert reconfigure(lost, Begin(C, SEED, health(dead=(A, B)), assigned=57)).view.epoch == 58
    assert reconfigure(lost, Begin(C, SEED, health(dead=(A, B)), assigned=1)).view.epoch == 3


def test_the_secret_is_shown_nowhere() -> None:
    configuration = chain(A, B)
    assert configuration.view.secret not in repr(configuration) + str(configuration)


def test_addition_is_pending_and_told_tail_first() -> None:
    configuration = reconfigure(chain(A, B), Add(C))
    assert configuration.view.members == ABC
    assert configuration.pending
    assert configuration.complete == (A, B)
    assert configuration.leaving == ()


def restarted(former: Member, number: int) -> Member:
    return replace(former, run_id=f"{number:040x}")


def test_whom_a_fault_takes_out_may_come_back_and_whom_an_operator_removes_may_not() -> None:
    everybody = health(ABC)
    assert reconfigure(chain(*ABC), Repair(frozenset({B.run_id}))).fallen == (B,)
    assert reconfigure(chain(*ABC), Remove(B, everybody, is_fault=True)).fallen == (B,)
    assert reconfigure(chain(*ABC), Remove(B, everybody)).fallen == ()
    before = replace(chain(A, C), fallen=(B,), awaited=(restarted(C, 30),))
    after = reconfigure(replace(before, view=chain(A, restarted(B, 20), C).view), Remove(restarted(B, 20), everybody))
    assert (after.fallen, after.awaited) == ((), before.awaited)


def test_who_comes_back_is_missed_until_it_has_been_seen_to_serve() -> None:
    short = reconfigure(chain(*ABC), Repair(frozenset({B.run_id})))
    back = restarted(B, 20)
    pending = reconfigure(short, Add(back))
    assert pending.fallen == (B,)
    assert confirmed(pending).fallen == ()
    assert reconfigure(pending, Repair(frozenset({back.run_id}))).fallen == (B,)
    assert reconfigure(pending, Remove(back, health(ABC), is_fault=True)).fallen == (B,)
    assert reconfigure(pending, Remove(back, health(ABC))).fallen == ()


def test_a_new_tail_that_dies_before_it_serves_was_no_member() -> None:
    """Who asked for it has been told that the chain goes on without."""
    pending = reconfigure(chain(A, B), Add(C))
    assert reconfigure(pending, Repair(frozenset({C.run_id}))).fallen == ()


def test_of_a_place_the_newest_process_counts_and_there_are_not_more_than_a_chain_may_have() -> None:
    configuration = chain(A, B)
    for number in range(100, 100 + 3 * MAX_MEMBERS):
        again = restarted(member(number % (MAX_MEMBERS + 10) + 10), number)
        added = confirmed(reconfigure(replace(configuration, leaving=()), Add(again)))
        configuration = reconfigure(added, Repair(frozenset({again.run_id})))
        assert configuration.fallen[0] == again
        assert len({each.port for each in configuration.fallen}) == len(configuration.fallen) <= MAX_MEMBERS


@pytest.mark.parametrize("gone", ABC)
@pytest.mark.parametrize("alive", [True, False])
def test_removal_of_any_position(gone: Member, alive: bool) -> None:
    rest = tuple(m for m in ABC if m != gone)
    configuration = reconfigure(chain(*ABC), Remove(gone, health(ABC) if alive else health(rest, (gone,))))
    assert configuration.view.members == rest
    assert configuration.leaving == ((gone,) if alive else ())


REFUSED = {
    "remove the only one": (chain(A), Remove(A, health((A,))), "only member"),
    "remove the only living one": (chain(A, B), Remove(A, health((A,), (B,))), "no member with all the data"),
    "remove the feeder of a new tail": (reconfigure(chain(A), Add(B)), Remove(A, health((A, B))), "all the data"),
    "add twice": (chain(A, B), Add(B), "already in the chain"),
    "add behind a tail that nobody saw serve": (reconfigure(chain(A), Add(B)), Add(C), "has not been seen to serve"),
    "add a 33rd": (chain(*map(member, range(MAX_MEMBERS))), Add(member(99)), "as many as it can have"),
    "begin beside the living": (chain(A, B), Begin(C, SEED, health(dead=(A,))), "may be alive"),
    "form beside the living": (chain(A, B), Form(C, 0, health(dead=(A,))), "may be alive"),
    "form from half a copy": (reconfigure(chain(A), Add(B)), Form(B, 2, health((B,), (A,))), "may not have all"),
    "add to nothing": (None, Add(A), "no members"),
    "change while one may not know that it is out": (
        reconfigure(chain(*ABC), Remove(A, health(ABC))), Remove(B, health(ABC)), "has not acknowledged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    now, event, says = REFUSED[case]
    with pytest.raises(CommandError, match=says):
        reconfigure(now, event)  # type: ignore[arg-type]


def test_an_unconfirmed_tail_goes_with_any_other_change() -> None:
    pending = reconfigure(chain(A, B), Add(C))
    configuration = reconfigure(pending, Remove(A, health(ABC)))
    assert configuration.view.members == (B,)
    assert set(configuration.leaving) == {A, C}
    assert reconfigure(pending, Remove(C, health(ABC))).view.members == (A, B)


def test_forming_from_a_restarted_survivor() -> None:
    configuration = reconfigure(chain(A, B), Form(D, 9, health((D,), (A, B))))
    assert configuration.view.members == (D,)
    assert configuration.view.epoch > 9 + EPOCHS_LEFT_OUT, "the store has gone back, and may have had more than D knows"
    assert configuration.view.history == chain(A).view.history
    assert configuration.leaving == ()


# ------------------------------------------------------------------------------- what is on the disks of the dead


def back(was: Member, now: Member, epoch: int = 3, *, durable: bool = True, applied: int = 9) -> Returned:
    return Returned(now, was.run_id, epoch, durable, 1, applied)


def reformed(now: Configuration, *returned: Returned) -> Configuration:
    return reconfigure(now, Reform(returned, health()))


def test_the_chosen_ones_disk_counts_until_it_has_a_newer_record() -> None:
    first = reformed(chain(*ABC), back(B, D))
    assert (first.view.members, first.formed_from, first.durable) == ((D,), B.run_id, (D.run_id,))
    again = reformed(first, back(B, E))
    assert (again.view.members, again.formed_from) == ((E,), B.run_id)
    adopted = reformed(first, back(D, E, epoch=4))
    assert (adopted.view.members, adopted.formed_from) == ((E,), D.run_id)


@pytest.mark.parametrize("other", [back(A, E), back(C, E), back(B, E, durable=False)])
def test_no_other_disk_does(other: Returned) -> None:
    """It may have served, and the others lack that; or this one cannot know."""
    with pytest.raises(CommandError, match="waiting for h:7003"):
        reformed(reformed(chain(*ABC), back(B, D)), other)


def test_a_disk_that_knows_a_newer_view_proves_that_the_store_has_gone_back() -> None:
    with pytest.raises(CommandError, match="of epoch 3, has gone back: h:7004"):
        reformed(chain(*ABC), back(B, E, epoch=4))


def test_what_it_was_formed_from_is_history_after_the_next_change() -> None:
    first = reformed(chain(*ABC), back(B, D))
    settled_ = replace(first, leaving=())
    with pytest.raises(CommandError, match="waiting for"):
        reformed(replace(reconfigure(settled_, Add(E)), pending=False), back(B, F))
    with pytest.raises(CommandError, match="waiting for"):
        reformed(reconfigure(settled_, Form(E, 4, health((E,), (D,)))), back(B, F))


def test_a_disk_that_has_everything_is_not_forgotten() -> None:
    dead = replace(chain(*ABC), durable=(B.run_id,))
    known = health(dead=ABC)
    for empty in (frozenset[str](), frozenset({A.run_id, C.run_id})):
        with pytest.raises(CommandError, match="h:7001 has all of the chain's data on its disk"):
            reconfigure(dead, Begin(D, SEED, known, empty))
    assert reconfigure(dead, Begin(D, SEED, known, frozenset({B.run_id}))).view.members == (D,)
    assert reconfigure(reconfigure(dead, Forget(B)), Begin(D, SEED, known)).view.members == (D,)


def test_what_the_disk_of_one_that_fell_has_counts_as_long_as_it_may_come_back() -> None:
    whole = replace(chain(*ABC), durable=(A.run_id, B.run_id))
    alone = reconfigure(whole, Repair(frozenset({A.run_id, B.run_id})))
    assert set(alone.durable) == {A.run_id, B.run_id}
    begin = Begin(D, SEED, health(dead=ABC), frozenset({A.run_id, C.run_id}))
    with pytest.raises(CommandError, match="h:7001 had all of the chain's data on its disk when it was last in it"):
        reconfigure(alone, begin)
    assert reconfigure(reconfigure(alone, Forget(B)), begin).view.members == (D,)
    assert reconfigure(alone, Form(C, 0, health((C,)))).durable == ()
    assert reconfigure(whole, Remove(A, health(ABC))).durable == (B.run_id,)


def test_what_the_disk_of_one_that_is_awaited_has_counts() -> None:
    again = restarted(B, 20)
    formed = reformed(replace(chain(*ABC), durable=tuple(each.run_id for each in ABC)), back(B, again))
    assert set(formed.durable) == {A.run_id, C.run_id, again.run_id}
    with pytest.raises(CommandError, match="h:7000 had all"):
        reconfigure(replace(formed, leaving=()), Begin(E, SEED, health(dead=(*ABC, again)), frozenset({again.run_id})))


class Decisions(RuleBasedStateMachine):
    """Any sequence of events; whatever is refused, the view stays."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Configuration | None = None
        self.epochs: list[int] = []
        self.births = 0

    def newcomer(self) -> Member:
        self.births += 1
        return member(self.births)

    def happen(self, event: Begin | Add | Remove | Form) -> None:
        try:
            self.now = reconfigure(self.now, event)
        except CommandError:
            return
        self.epochs.append(self.now.view.epoch)

    def some_health(self, data: st.DataObject) -> Health:
        assert self.now
        fates = {m.run_id: data.draw(st.sampled_from(("alive", "dead", "hung"))) for m in self.now.view.members}
        return Health(*(frozenset(i for i, fate in fates.items() if fate == wanted) for wanted in ("alive", "dead")))

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        known = self.some_health(data) if self.now else Health()
        self.happen(Begin(self.newcomer(), data.draw(st.binary(min_size=32, max_size=32)), known))

    @precondition(lambda self: self.now)
    @rule()
    def add(self) -> None:
        self.happen(Add(self.newcomer()))

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        assert self.now
        before, known = self.now, self.some_health(data)
        self.happen(Remove(data.draw(st.sampled_from(before.view.members)), known))
        if self.now is not before:
            assert known.alive & {m.run_id for m in before.complete} & {m.run_id for m in self.now.view.members}

    @precondition(lambda self: self.now)
    @rule(data=st.data(), restarted=st.booleans())
    def form(self, data: st.DataObject, restarted: bool) -> None:
        assert self.now
        survivor = self.newcomer() if restarted else data.draw(st.sampled_from(self.now.view.members))
        self.happen(Form(survivor, data.draw(st.integers(0, 50)), self.some_health(data)))

    @precondition(lambda self: self.now)
    @rule()
    def settle(self) -> None:
        assert self.now
        self.now = Configuration(self.now.view)

    @invariant()
    def epochs_only_grow(self) -> None:
        assert all(earlier < later for earlier, later in zip(self.epochs, self.epochs[1:], strict=False))

    @invariant()
    def those_that_leave_are_not_in_it(self) -> None:
        if self.now:
            assert not set(self.now.leaving) & set(self.now.view.members)
            assert not (self.now.leaving and self.now.pending)


TestDecisions = Decisions.TestCase
