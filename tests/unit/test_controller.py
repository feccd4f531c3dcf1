"""The master's protocol as a table of what was seen and what follows, on a clock that the tests turn."""

from collections.abc import Callable

import pytest

from chainredis.protocol.controller import Controller
from chainredis.protocol.errors import CommandError
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import BrokenLink, Lifeline, MemberReport
from chainredis.protocol.reconfiguration import Add, Begin, Configuration, Event, Form, Health, Remove
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Member, View

SETTINGS = ProtocolSettings(timeout_ms=1000, lease_ms=1000, drift=0.1)
STEP_S = 0.05


def member(number: int) -> Member:
    return Member("h", "10.0.0.1", 7000 + number, f"{number:040x}")


A, B, C, D = map(member, range(4))


def chain_of(*members: Member, lease_ms: int = 1000) -> Configuration:
    return Configuration(View("0a" * 16, 7, members, "0b" * 16), lease_ms=lease_ms)


class Stage:
    """A controller that has just started with a chain of these: everybody has adopted its view and serves, and it
    holds their lifelines.
    """

    def __init__(
        self, *members: Member, settings: ProtocolSettings = SETTINGS, stored: Configuration | None = None
    ) -> None:
        self.now = 100.0
        self.controller = Controller(stored or chain_of(*members), settings, self.now)
        if not stored:
            self.answer(*members)
            self.hold(*members)

    @property
    def configuration(self) -> Configuration:
        assert self.controller.configuration
        return self.controller.configuration

    @property
    def chain(self) -> tuple[Member, ...]:
        return self.configuration.view.members

    def answer(self, *members: Member, epoch: int | None = None, serving: bool = True, lost: str = "") -> None:
        broken_links = tuple(BrokenLink(run_id, 5000, True) for run_id in lost.split())
        epoch = self.configuration.view.epoch if epoch is None else epoch
        for each in members:
            report = MemberReport(epoch, serving, int(self.now * 1000), broken_links)
            self.controller.detector.answered(each.run_id, report, self.now)

    def write(self, each: Member, applied: int, committed: int) -> None:
        """It answers amid a write."""
        report = MemberReport(self.configuration.view.epoch, True, 0, applied=applied, committed=committed)
        self.controller.detector.answered(each.run_id, report, self.now)

    def hold(self, *members: Member) -> None:
        for each in members:
            self.controller.detector.lifeline(each.run_id, Lifeline.HELD)

    def kill(self, *members: Member) -> None:
        for each in members:
            self.controller.detector.lifeline(each.run_id, Lifeline.ENDED)
            self.controller.detector.refused(each.run_id)

    def hide(self, *members: Member) -> None:
        """What a living process can do by itself: close its connections, and leave its port."""
        for each in members:
            self.controller.detector.dropped(each.run_id)
            self.controller.detector.refused(each.run_id)

    def pass_time(self, seconds: float, *answering: Member, polled: tuple[Member, ...] = ()) -> None:
        """Those that answer do so in the epoch that they are in."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.controller.detector.attend(self.now)
            for each in answering:
                self.answer(each)
            for each in polled:
                self.controller.lease_to_grant(each.run_id)

    def store(self) -> Configuration | None:
        """Carry out what is to be done, if anything."""
        configuration = self.controller.next_configuration()
        if configuration:
            self.controller.stored(configuration)
        return configuration

    def store_all(self) -> None:
        while self.store():
            pass

    def propose(self, event: Event) -> Configuration:
        configuration = self.controller.propose(event)
        self.controller.stored(configuration)
        return configuration

    def told(self, *members: Member) -> list[bool]:
        return [self.controller.view_to_tell(each.run_id) is not None for each in members]

    def lease(self, each: Member) -> Lease | None:
        return self.controller.lease_to_grant(each.run_id)


# ---------------------------------------------------------------------------------------------------- who is dead


def test_the_end_of_the_lifeline_and_an_absent_process_are_an_end() -> None:
    stage = Stage(A, B, C)
    stage.controller.detector.lifeline(B.run_id, Lifeline.ENDED)
    assert not stage.controller.detector.is_dead(B.run_id), "something between may have closed it"
    stage.controller.detector.refused(B.run_id)
    assert stage.controller.detector.is_dead(B.run_id)


def test_in_whatever_order_they_are_seen() -> None:
    stage = Stage(A, B, C)
    stage.controller.detector.refused(B.run_id)
    stage.controller.detector.lifeline(B.run_id, Lifeline.ENDED)
    assert stage.controller.detector.is_dead(B.run_id)


def test_who_closes_connections_and_leaves_its_port_may_live() -> None:
    """Whatever its neighbours say: it keeps its lease, and is waited for like anybody who is silent."""
    stage = Stage(A, B, C)
    stage.pass_time(0.5, A, B, C, polled=(A, B, C))
    stage.hide(B)
    stage.answer(A, C, lost=B.run_id)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.05, A, C)
    assert not stage.controller.detector.is_gone(B.run_id), "its lease may last"
    stage.pass_time(0.1, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("lifeline", Lifeline)
def test_only_an_end_that_was_announced_counts(lifeline: Lifeline) -> None:
    stage = Stage(A, B, C)
    stage.hide(B)
    stage.controller.detector.lifeline(B.run_id, lifeline)
    assert stage.controller.detector.is_dead(B.run_id) == (lifeline is Lifeline.ENDED)


@pytest.mark.parametrize("sees", [FailureDetector.refused, FailureDetector.replaced])
def test_one_that_has_left_its_port_while_nobody_held_its_lifeline(
    sees: Callable[[FailureDetector, str], bool],
) -> None:
    """A master that was away may not know of its end, and need not be patient either."""
    settings = ProtocolSettings(timeout_ms=5000, lease_ms=1000, drift=0.1)
    stage = Stage(A, B, C, settings=settings, stored=chain_of(A, B, C))
    stage.answer(A, C)
    sees(stage.controller.detector, B.run_id)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.15, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_an_answer_refutes_what_was_suspected() -> None:
    stage = Stage(A, B, C)
    stage.kill(B)
    stage.answer(B)
    assert not stage.controller.detector.is_dead(B.run_id)
    stage.hold(B)
    stage.hide(B)
    assert not stage.controller.detector.is_dead(B.run_id)


def test_without_trust_in_refusals_only_silence_counts() -> None:
    stage = Stage(A, B, C, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.kill(B)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.5, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_silent_one_is_gone_when_its_lease_has_run_out() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(1.05, A, C)
    assert not stage.controller.detector.is_gone(B.run_id), "its clock may be slower than ours by the drift"
    stage.pass_time(0.1, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_restarted_master_assumes_a_full_lease_of_everybody() -> None:
    stage = Stage(stored=chain_of(A, B, C, lease_ms=4000))
    stage.answer(A, C)
    stage.pass_time(4.3, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.2, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("timeout_ms", [200, 1000, 15000])
def test_silence_while_the_master_was_stopped_counts_for_nothing(timeout_ms: int) -> None:
    stage = Stage(A, B, C, settings=ProtocolSettings(timeout_ms, timeout_ms))
    stage.now += 3600
    stage.controller.detector.attend(stage.now)
    assert not any(stage.controller.detector.is_gone(each.run_id) for each in (A, B, C))
    stage.answer(A)
    stage.store_all()
    assert stage.chain == (A, B, C), "the others are about to answer"


def test_a_sole_member_is_never_gone_for_silence_alone() -> None:
    """It serves without a lease, perhaps at another port, as long as somebody holds its lifeline."""
    stage = Stage(A)
    stage.hide(A)
    stage.pass_time(60)
    assert not stage.controller.is_lost
    stage.controller.detector.lifeline(A.run_id, Lifeline.ENDED)
    assert stage.controller.is_lost


def test_a_sole_member_that_nobody_held_is_gone_when_it_has_left_its_port_for_long() -> None:
    stage = Stage(stored=chain_of(A))
    stage.pass_time(60)
    assert not stage.controller.is_lost
    stage.controller.detector.refused(A.run_id)
    assert stage.controller.is_lost


def test_a_sole_member_in_whose_place_another_process_answers_is_gone_after_the_lease_at_the_latest() -> None:
    stage = Stage(A, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.controller.detector.lifeline(A.run_id, Lifeline.ENDED)
    stage.controller.detector.refused(A.run_id)
    stage.pass_time(60)
    assert not stage.controller.is_lost, "a firewall may refuse for a living one"
    stage.controller.detector.replaced(A.run_id)
    assert stage.controller.detector.health().dead == {A.run_id}, "an operator may form the chain again"


def test_a_sole_member_that_just_answered_is_not_gone_because_a_proxy_leads_elsewhere() -> None:
    stage = Stage(A, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.answer(A)
    stage.controller.detector.replaced(A.run_id)
    assert not stage.controller.is_lost


# ------------------------------------------------------------------------------------------------ who is waited for

PATIENT = ProtocolSettings(timeout_ms=10_000, lease_ms=1000, drift=0.1)


def test_one_in_the_middle_that_nobody_waits_for_has_the_timeout() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(9.9, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.2, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("hung", [A, C])
def test_an_end_of_the_chain_is_waited_for_by_clients_whom_nobody_knows(hung: Member) -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(1.05, *({A, B, C} - {hung}))
    assert not stage.controller.detector.is_gone(hung.run_id)
    stage.pass_time(0.1, *({A, B, C} - {hung}))
    assert stage.controller.detector.is_gone(hung.run_id)


def test_one_that_holds_up_updates_has_no_longer_than_a_lease() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(5, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    for _ in range(7):
        stage.write(A, applied=0, committed=-1)
        stage.pass_time(STEP_S)
    assert stage.controller.detector.is_gone(B.run_id)
    stage.write(A, applied=0, committed=-1)
    stage.store()
    assert stage.chain == (A, C)


def test_one_through_which_commits_go_on_has_the_timeout() -> None:
    """It does not reach the master, and its neighbours reach it."""
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    for sn in range(100):
        stage.pass_time(STEP_S)
        stage.write(A, applied=sn + 1, committed=sn)
        stage.write(B, applied=sn + 1, committed=sn)
    assert not stage.controller.detector.is_gone(C.run_id)


def test_one_that_says_anything_at_all_has_the_timeout() -> None:
    """That it is busy with a script, for one."""
    stage = Stage(A, B, C, settings=PATIENT)
    for _ in range(100):
        stage.pass_time(STEP_S, A, B)
        stage.controller.detector.spoke(C.run_id, stage.now)
    assert not stage.controller.detector.is_gone(C.run_id)
    stage.pass_time(5.1, A, B)
    assert stage.controller.detector.is_gone(C.run_id)


def test_one_that_leaves_is_waited_for() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.lease(B)
    stage.propose(Remove(B, stage.controller.detector.health()))
    stage.pass_time(1.2, A, C)
    stage.store_all()
    assert stage.configuration.leaving == ()


@pytest.mark.parametrize(("given_ms", "gone_s"), [(3000, 3), (500, 1), (20_000, 10), (0, 10)])
def test_the_shortest_timeout_that_was_given_counts(given_ms: int, gone_s: float) -> None:
    """Its last lease may outlast it: it was granted before."""
    stage = Stage(A, B, C, settings=PATIENT)
    stage.controller.detector.answered(B.run_id, MemberReport(7, True, 0, timeout_ms=given_ms), stage.now)
    lease = stage.lease(B)
    assert lease and lease.length_ms == min(1000, given_ms or 1000)
    stage.pass_time(gone_s - 0.1, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.25, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_master_that_was_cut_off_hears_of_one_after_the_other_again() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(60)
    stage.pass_time(0.5, A)
    assert stage.store() is None, "the others are about to answer"
    stage.pass_time(0.7, A)
    stage.store()
    assert stage.chain == (A,)


def test_a_death_is_repaired_though_nobody_has_been_heard_for_long() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(60)
    stage.kill(B)
    stage.answer(A)
    stage.store()
    assert stage.chain == (A, C)


# --------------------------------------------------------------------------------------------------------- leases


def test_a_lease_counts_from_the_last_answer_and_names_the_epoch() -> None:
    stage = Stage(A, B)
    assert stage.lease(B) == Lease(7, 100_000, 1000)


def test_no_lease_before_the_first_answer() -> None:
    stage = Stage(stored=chain_of(A, B))
    assert stage.lease(A) is None


def test_no_lease_from_the_decision_to_remove_on_be_it_stored_yet_or_not() -> None:
    stage = Stage(A, B, C)
    configuration = stage.controller.propose(Remove(C, stage.controller.detector.health()))
    assert stage.lease(C) is None
    assert stage.lease(B) is not None
    stage.controller.stored(configuration)
    assert stage.lease(C) is None


def test_who_does_not_know_the_newest_view_goes_on_with_a_lease_of_its_own() -> None:
    """A poll of an epoch that it has not heard of would stop it from serving."""
    stage = Stage(A, B, C)
    stage.propose(Remove(B, stage.controller.detector.health()))
    assert stage.lease(C) == Lease(7, 100_000, 1000)
    stage.answer(B, serving=False)
    stage.store_all()
    stage.controller.detector.adopted(C.run_id, 8, stage.now)
    assert stage.lease(C) == Lease(8, 100_000, 1000)


def test_a_new_length_is_stored_before_it_is_granted() -> None:
    stage = Stage(A, B)
    stage.controller.detector.settings = ProtocolSettings(5000, 5000)
    assert stage.lease(A) == Lease(7, 100_000, 1000)
    assert stage.store() == Configuration(stage.configuration.view, lease_ms=5000)
    assert stage.lease(A) == Lease(7, 100_000, 5000)


# --------------------------------------------------------------------------------------------------------- repair


@pytest.mark.parametrize("victims", [(A,), (B,), (C,), (A, B), (A, C), (B, C)])
def test_the_survivors_are_the_chain_in_their_order(victims: tuple[Member, ...]) -> None:
    stage = Stage(A, B, C)
    stage.pass_time(STEP_S)
    stage.kill(*victims)
    survivors = tuple(each for each in (A, B, C) if each not in victims)
    assert stage.store() is None, "a view of processes that hang would help nobody"
    stage.answer(survivors[0])
    stage.store()
    assert stage.chain == survivors
    assert stage.configuration.leaving == ()
    assert set(stage.configuration.fallen) == set(victims)
    assert stage.told(*survivors) == [True] * len(survivors)


def test_a_survivors_report_is_an_answer() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(STEP_S)
    stage.controller.detector.reported(A.run_id, (BrokenLink(B.run_id, 0, dropped=True),), stage.now)
    assert stage.store() is None
    stage.kill(B)
    stage.store()
    assert stage.chain == (A, C)


def test_one_more_during_a_repair() -> None:
    stage = Stage(A, B, C)
    stage.kill(B)
    stage.answer(A)
    stage.store()
    stage.kill(A)
    stage.answer(C, epoch=7)
    stage.store()
    assert stage.chain == (C,)
    assert stage.configuration.view.epoch == 9


def test_a_lost_chain_is_left_as_it_is() -> None:
    stage = Stage(A, B)
    stage.kill(A, B)
    assert stage.controller.is_lost
    assert stage.store() is None


def test_two_members_that_cannot_reach_each_other_part() -> None:
    stage = Stage(A, B, C)
    stage.answer(A, lost=B.run_id)
    stage.answer(B, lost=f"{A.run_id} {C.run_id}")
    stage.answer(C, lost=B.run_id)
    stage.store()
    assert stage.chain == (A, C)
    assert stage.configuration.leaving == (B,)


def test_those_that_leave_are_told_first() -> None:
    stage = Stage(A, B, C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    assert stage.told(A, B, C) == [False, False, True]
    stage.answer(C, epoch=8, serving=False)
    assert stage.store() == Configuration(stage.configuration.view, lease_ms=1000)
    assert stage.told(A, B, C) == [True, True, False]


def test_one_that_hangs_leaves_when_its_lease_has_run_out() -> None:
    stage = Stage(A, B, C)
    stage.lease(C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    stage.pass_time(1, A, B)
    assert stage.store() is None
    stage.pass_time(0.2, A, B)
    stage.store()
    assert stage.configuration.leaving == ()


# ------------------------------------------------------------------------------------------------------- additions


def added(stage: Stage) -> Stage:
    stage.propose(Add(D))
    stage.answer(D, epoch=0, serving=False)
    return stage


def test_an_addition_is_confirmed_by_the_new_tails_service() -> None:
    stage = added(Stage(A, B))
    stage.answer(A, B)
    assert not stage.controller.is_settled
    stage.answer(D)
    stage.store()
    assert not stage.configuration.pending
    assert stage.controller.is_settled


@pytest.mark.parametrize("killed", [A, B, D])
def test_whoever_dies_before_that_the_addition_is_off(killed: Member) -> None:
    stage = added(Stage(A, B))
    stage.kill(killed)
    stage.answer(*({A, B} - {killed}), epoch=7)
    stage.store()
    assert stage.chain == tuple(each for each in (A, B) if each != killed)
    assert stage.configuration.leaving == (() if killed == D else (D,))


def stalled(stage: Stage, *answering: Member) -> Configuration | None:
    """For a little more than the timeout these answer, and the new tail does not serve."""
    added(stage)
    for _ in range(21):
        stage.pass_time(STEP_S)
        for each in answering:
            stage.answer(each, serving=each != D)
    return stage.controller.next_configuration()


def test_an_addition_whose_new_tail_never_comes_to_serve_is_withdrawn() -> None:
    """It knows the view, and has not what it takes: what a former master's join has made of it, for one."""
    configuration = stalled(Stage(A, B), A, B, D)
    assert configuration and configuration.view.members == (A, B)
    assert configuration.leaving == (D,)


@pytest.mark.parametrize("who", [A, B, D])
def test_nothing_is_withdrawn_while_somebody_does_not_answer(who: Member) -> None:
    assert stalled(Stage(A, B), *({A, B, D} - {who})) is None


def test_an_addition_that_the_old_tail_cannot_feed_is_withdrawn() -> None:
    stage = added(Stage(A, B))
    stage.controller.cannot_feed(B.run_id, 8)
    assert stage.told(B) == [False]
    stage.store()
    assert stage.chain == (A, B)
    stage.answer(D, epoch=9, serving=False)
    stage.store()
    assert stage.told(A, B) == [True, True], "it is told of the next view as everybody is"


def test_a_refusal_of_an_older_view_means_nothing() -> None:
    stage = added(Stage(A, B))
    stage.controller.cannot_feed(B.run_id, 7)
    assert stage.store() is None


def test_a_new_tail_out_of_the_old_ones_reach_is_taken_out_again() -> None:
    stage = added(Stage(A, B))
    stage.answer(A)
    stage.answer(B, serving=False, lost=D.run_id)
    stage.answer(D, serving=False, lost=B.run_id)
    stage.store()
    assert stage.chain == (A, B)


# -------------------------------------------------------------------------------------------------- and operators


def test_one_decision_at_a_time() -> None:
    stage = Stage(A, B, C)
    stage.controller.propose(Remove(C, stage.controller.detector.health()))
    assert not stage.controller.is_open
    assert stage.controller.next_configuration() is None
    with pytest.raises(CommandError, match="just being changed"):
        stage.controller.propose(Remove(B, Health()))


def test_what_could_not_be_stored_is_forgotten() -> None:
    stage = Stage(A, B, C)
    before = stage.configuration
    stage.controller.propose(Remove(C, stage.controller.detector.health()))
    stage.controller.stored(before)
    assert stage.lease(C) is not None
    assert stage.controller.is_settled


def test_health() -> None:
    stage = Stage(A, B, C, D)
    stage.kill(B)
    stage.controller.detector.dropped(C.run_id)
    assert stage.controller.detector.health() == Health(frozenset({A.run_id, D.run_id}), frozenset({B.run_id}))
    stage.pass_time(0.6, D)
    assert stage.controller.detector.health().alive == {D.run_id}
    assert stage.controller.detector.member_status(A.run_id) == ("silent", 600, -1, "held")
    assert stage.controller.detector.member_status(B.run_id) == ("dead", 600, -1, "ended")
    assert stage.controller.detector.member_status(D.run_id) == ("alive", 0, -1, "held")
    stage.controller.detector.replaced(B.run_id)
    assert stage.controller.detector.member_status(B.run_id).word == "restarted"


def test_a_chain_of_another_history_is_told_to_who_is_in_no_chain() -> None:
    stage = Stage(A)
    stage.kill(A)
    stage.propose(Begin(B, bytes(32), stage.controller.detector.health()))
    stage.answer(B, epoch=0)
    assert stage.told(B) == [True]
    stage.answer(B)
    assert stage.controller.is_settled


REASONS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "all is well": (lambda stage: None, ""),
    "one has not adopted": (lambda stage: stage.answer(B, epoch=6), "not serving in it yet: h:7001"),
    "being changed": (lambda stage: stage.controller.propose(Form(A, 7, Health())), "just being changed"),
    "one leaves": (lambda stage: stage.propose(Form(A, 7, Health())), "h:7001 may still serve"),
    "all are dead": (lambda stage: stage.kill(A, B), "no process of the chain lives"),
}


@pytest.mark.parametrize("case", REASONS)
def test_why_it_is_not_settled(case: str) -> None:
    happens, reason = REASONS[case]
    stage = Stage(A, B)
    happens(stage)
    assert reason in stage.controller.why_unsettled
    assert stage.controller.is_settled == (reason == "")
