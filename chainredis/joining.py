"""How a server gets everything that the tail has, before any view names it (docs/protocol.md, "Joining")."""

import contextlib
import logging
from collections.abc import Callable

from chainredis.errors import Loading, MemberError, TooFar
from chainredis.looking import Acquaintance
from chainredis.member_client import MemberLink
from chainredis.settings import Settings
from chainredis.view import View
from chainredis.waiting import StallWatch, WaitTimeout, wait_until

log = logging.getLogger(__name__)


class JoinFailed(Exception):
    """The chain is as it was; the server that was to join holds nothing of use."""


def bring_in(
    tail: MemberLink, newcomer: Acquaintance, view: View, settings: Settings, note: Callable[[str], None]
) -> None:
    """Have `newcomer` get what the tail has and it lacks, and leave the tail forwarding to it.

    `tail` is proven and stays open until the newcomer serves: the tail keeps its log for it as long as that connection
    lasts. note: is told how far it is, for people. Raises JoinFailed.
    """
    try:
        if not _resume(tail, newcomer, view):
            _copy(tail, newcomer, view, settings, note)
        note("catching up")
        newcomer.link.prove(view.secret, newcomer.member.run_id)  # the view has brought it the secret
        tail.feed(newcomer.member)
        _await_stream(tail, newcomer.link, view, settings)
    except (MemberError, WaitTimeout) as error:
        with contextlib.suppress(MemberError):
            tail.unpin()
        raise JoinFailed(str(error)) from error


def _resume(tail: MemberLink, newcomer: Acquaintance, view: View) -> bool:
    """Only the missing log, when the newcomer's data is a prefix of the tail's and the tail still has the rest."""
    state, link = newcomer.state, newcomer.link
    if state.history != view.history or state.role == "learner":
        return False
    try:
        if state.role != "removed":
            link.adopt(view)  # it is out, and has not heard of that
            state = link.state()  # as a head it may have taken writes until then
        tail.pin(state.applied, state.assigned)
        link.rejoin(view)
    except TooFar as error:
        log.info("%s: %s is copied anew", error, newcomer.member)
        return False
    return True


def _copy(
    tail: MemberLink, newcomer: Acquaintance, view: View, settings: Settings, note: Callable[[str], None]
) -> None:
    tail.pin()
    newcomer.link.join(view)
    newcomer.link.prove(view.secret, newcomer.member.run_id)
    _await_snapshot(tail, newcomer, view, settings, note)


def _await_snapshot(
    tail: MemberLink, newcomer: Acquaintance, view: View, settings: Settings, note: Callable[[str], None]
) -> None:
    member, learner = newcomer.member, newcomer.link
    watch = StallWatch(settings.stall_timeout_s)

    def progress() -> object:
        sent, received = tail.progress(), learner.progress()
        note(
            f"copying: {sent.current_save_keys_processed} keys sent, {received.loading_loaded_bytes} bytes loaded, "
            f"{received.member_join_checkpoint_bytes} bytes of the checkpoint copied"
        )
        return sent, received

    def copied() -> bool:
        _check_pin(tail, view)
        watch.check(progress)
        try:
            state = learner.state()
        except Loading:
            return False
        if state.join == "failed":
            raise JoinFailed(f"{member}: cannot copy {view.tail}: {state.join_error}")
        return state.join == "copied"

    wait_until(copied, None, settings.poll_interval_s)


def _await_stream(tail: MemberLink, learner: MemberLink, view: View, settings: Settings) -> None:
    """Until the learner has been seen with all that the tail had just before: it keeps up with the chain's writes."""
    watch = StallWatch(settings.stall_timeout_s)

    def caught_up() -> bool:
        wanted = _check_pin(tail, view)
        state = learner.state()
        watch.check(lambda: state.applied)
        return wanted is not None and state.applied >= wanted

    wait_until(caught_up, None, settings.poll_interval_s)


def _check_pin(tail: MemberLink, view: View) -> int | None:
    """The tail's newest sn once it streams to its learner; JoinFailed when it keeps the log no longer."""
    state = tail.state()
    if state.epoch != view.epoch:
        raise JoinFailed(f"{view.tail}: is in another view by now")
    if state.pinned < 0:
        raise JoinFailed(
            f"{view.tail}: had to keep more updates for the new member than member.join-limit allows: "
            "raise that limit, or add the member when there are fewer writes"
        )
    return state.applied if state.streaming else None
