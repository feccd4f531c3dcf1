# SPDX-License-Identifier: Apache-2.0
"""A new tail gets everything that the tail has, before any view names it (docs/protocol.md, "Joining").

A learner whose data is a prefix of the tail's gets the missing log alone; any other learner gets a copy of all data
first. Then the tail forwards to it, until it keeps up.
"""

import contextlib
import logging
from collections.abc import Callable

from chainredis.coordinator.probe import ProbedServer, parse_broken_links
from chainredis.protocol.errors import Loading, MemberError, TooFar
from chainredis.protocol.traits import why_it_cannot_be_copied
from chainredis.protocol.view import Member, View
from chainredis.transport.member_client import MemberLink
from chainredis.transport.member_state import MemberState
from chainredis.transport.settings import Settings
from chainredis.transport.waiting import StallWatch, WaitTimeout, wait_until

log = logging.getLogger(__name__)


class JoinFailed(Exception):
    """The chain is as it was. What the learner has copied is of no use."""


Note = Callable[[str], None]

# A link between the two that has been broken for so long, or was refused for one of these reasons, will not come up.
REACH_MS = 1000
REFUSALS = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH ")
# Redis's replication has to begin within this time, once the two have accepted each other's connections.
BEGIN_S = 5.0


def sync_learner(old: ProbedServer, newcomer: ProbedServer, view: View, settings: Settings, note: Note) -> None:
    """Give `newcomer` all that the old tail has, and leave the tail forwarding to it. Raises JoinFailed.

    old: with a link that has proved the secret, and that stays open until the newcomer serves: the tail keeps its log
    for the newcomer as long as this connection lasts. note: is told the progress, for people, and raises to call this
    off.
    """
    tail = old.link
    try:
        if not _resume(tail, newcomer, view):
            if why := why_it_cannot_be_copied(newcomer.member, newcomer.traits, old.member, old.traits):
                raise JoinFailed(why)
            _copy(tail, newcomer, view, settings, note)
        note("catching up")
        newcomer.link.prove(view.secret, newcomer.member.run_id)  # the view has brought it the secret
        came_with = newcomer.link.state().applied
        tail.feed(newcomer.member)
        _await_stream(tail, newcomer, view, settings, note)
        _await_commit(tail, came_with, view, settings, note)
    except (MemberError, WaitTimeout) as error:
        with contextlib.suppress(MemberError):
            tail.unpin()
        raise JoinFailed(str(error)) from error


def _resume(tail: MemberLink, newcomer: ProbedServer, view: View) -> bool:
    """Returns False if the newcomer's data is not a prefix of the tail's, or the tail's log does not go back so far.

    The newcomer may be a learner whose copy is complete, or which needed none, when its addition was broken off.
    """
    state, link = newcomer.state, newcomer.link
    is_learner = state.role == "learner"
    if state.history != view.history or (is_learner and state.join != "copied"):
        return False
    try:
        if state.role != "removed" and not is_learner:
            link.adopt(view)  # it was removed, and has not heard of that
            state = link.state()  # as a head it may have taken writes until now
        tail.pin(state.applied, state.assigned)
        link.rejoin(view)
    except TooFar as error:
        log.info("%s: %s is copied anew", error, newcomer.member)
        return False
    return True


def _copy(tail: MemberLink, newcomer: ProbedServer, view: View, settings: Settings, note: Note) -> None:
    tail.pin()
    newcomer.link.join(view)
    newcomer.link.prove(view.secret, newcomer.member.run_id)
    _await_snapshot(tail, newcomer, view, settings, note)


def _await_snapshot(tail: MemberLink, newcomer: ProbedServer, view: View, settings: Settings, note: Note) -> None:
    member, learner = newcomer.member, newcomer.link
    watch, beginning = StallWatch(settings.stall_timeout_s), StallWatch(BEGIN_S)
    said = "copying"

    def has_begun() -> object:
        """Gives the same value as long as the replication has not begun."""
        is_waiting = learner.progress().master_sync_in_progress == 0 and not tail.feeds_replica()
        return None if is_waiting else object()

    def progress() -> object:
        nonlocal said
        sent, received = tail.progress(), learner.progress()
        said = (
            f"copying: {sent.current_save_keys_processed} keys sent, {received.loading_loaded_bytes} bytes loaded, "
            f"{received.member_join_checkpoint_bytes} bytes of the checkpoint copied"
        )
        return sent, received

    def copied() -> bool:
        _check_pin(tail.state(), view)
        watch.check(progress)
        note(said)
        try:
            state = learner.state()
        except Loading:
            return False
        if state.join == "failed":
            raise JoinFailed(f"{member}: cannot copy {view.tail}: {state.join_error}")
        _check_beginning(beginning, has_begun, member)
        return state.join == "copied"

    wait_until(copied, None, settings.poll_interval_s)


def _check_beginning(watch: StallWatch, has_begun: Callable[[], object], member: Member) -> None:
    try:
        watch.check(has_begun)
    except WaitTimeout as error:
        raise JoinFailed(
            f"{member}: Redis's replication from the old tail does not begin; the log of {member} says why. It logs in "
            "with member.auth-user and member.auth-password, and needs to run PING, REPLCONF and PSYNC there"
        ) from error


def _await_stream(tail: MemberLink, newcomer: ProbedServer, view: View, settings: Settings, note: Note) -> None:
    """Wait until the learner has all that the tail had a moment before: it keeps up with the chain's writes."""
    watch = StallWatch(settings.stall_timeout_s)

    def caught_up() -> bool:
        note("catching up")
        feeding = tail.state()
        wanted = _check_pin(feeding, view)
        state = newcomer.link.state()
        are_linked = _are_linked(view.tail, feeding, newcomer.member) and _are_linked(newcomer.member, state, view.tail)
        watch.check(lambda: state.applied)
        return are_linked and wanted is not None and state.applied >= wanted

    wait_until(caught_up, None, settings.poll_interval_s)


def _await_commit(tail: MemberLink, came_with: int, view: View, settings: Settings, note: Note) -> None:
    """Wait until the chain has committed what the learner had before it was fed. The learner takes that for committed,
    though other members' disks may still lack some of it.
    """
    watch = StallWatch(settings.stall_timeout_s)

    def committed() -> bool:
        note("waiting for the members' disks")
        state = tail.state()
        _check_pin(state, view)
        watch.check(lambda: state.committed)
        return state.committed >= came_with

    wait_until(committed, None, settings.poll_interval_s)


def _are_linked(member: Member, state: MemberState, other: Member) -> bool:
    """Returns True if `member` is connected to `other`. JoinFailed if it never will be."""
    link = next((each for each in parse_broken_links(state.unreached) if each.run_id == other.run_id), None)
    if link is None:
        return True
    why = state.unreached_why.partition(": ")[2]
    if why.startswith(REFUSALS):
        raise JoinFailed(
            f"{member}: cannot log in at {other} ({why}): set member.auth-password (and member.auth-user) at {member} "
            "as that one asks for"
        )
    if link.for_ms >= REACH_MS and why:
        raise JoinFailed(f"{member}: cannot reach {other} at {other.address}:{other.port} ({why})")
    return False


def _check_pin(state: MemberState, view: View) -> int | None:
    """The tail's newest sequence number, None before it streams to its learner.

    JoinFailed if the tail does not keep its log for the learner any more.
    """
    if state.epoch != view.epoch:
        raise JoinFailed(f"{view.tail}: is in another view by now")
    if state.pinned < 0:
        raise JoinFailed(
            f"{view.tail}: had to keep more updates for the new member than member.join-limit allows: "
            "raise that limit, or add the member when there are fewer writes"
        )
    return state.applied if state.streaming else None
