"""How a server gets everything that the tail has, before any view names it (docs/protocol.md, "Joining")."""

import contextlib

from chainredis.errors import Loading, MemberError
from chainredis.member_client import MemberLink
from chainredis.settings import Settings
from chainredis.view import Member, View
from chainredis.waiting import StallWatch, WaitTimeout, wait_until


class JoinFailed(Exception):
    """The chain is as it was; the server that was to join holds nothing of use."""


def bring_in(tail: MemberLink, learner: MemberLink, member: Member, view: View, settings: Settings) -> None:
    """Copy the tail's data to `learner`, which is to be `member`, and leave the tail forwarding to it.

    `tail` is proven and stays open until the member serves: the tail keeps its log for the learner as long as that
    connection lasts. Raises JoinFailed.
    """
    try:
        tail.pin()
        learner.join(view)
        learner.prove(view.secret, member.run_id)  # the view has brought it the secret
        _await_snapshot(tail, learner, member, view, settings)
        tail.feed(member)
        _await_stream(tail, learner, view, settings)
    except (MemberError, WaitTimeout) as error:
        with contextlib.suppress(MemberError):
            tail.unpin()
        raise JoinFailed(str(error)) from error


def _await_snapshot(tail: MemberLink, learner: MemberLink, member: Member, view: View, settings: Settings) -> None:
    watch = StallWatch(settings.stall_timeout_s)

    def copied() -> bool:
        _check_pin(tail, view)
        watch.check(lambda: (tail.progress(), learner.progress()))
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
