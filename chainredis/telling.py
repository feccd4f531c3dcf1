"""Telling members of a stored view, and seeing that they serve in it. All of it may be done again at any time."""

import contextlib
from collections.abc import Mapping

from chainredis.errors import MemberError
from chainredis.looking import connect, look_at
from chainredis.member_client import Dial, MemberLink
from chainredis.transitions import Change
from chainredis.view import Member, View
from chainredis.waiting import WaitTimeout, wait_until

Links = Mapping[str, MemberLink]


class Untold(Exception):
    """The view is stored and in force, or will be; not everybody has heard of it, or serves in it, so far."""


def tell_leaving(change: Change, dial: Dial, timeout_s: float) -> None:
    """Rule 4: every member that the view leaves out acknowledges it, or is known to be dead. Else Untold."""
    for member in change.leaving:
        failure = _tell(member, change.view, dial, {}, timeout_s)
        if failure and not failure.known_dead:
            raise Untold(f"{failure}, so that its removal is not in force yet")


def tell_members(change: Change, dial: Dial, links: Links, timeout_s: float) -> None:
    """In the order that the decision fixes, over `links` (by run_id) where there is one. Untold names the missed."""
    failures = [_tell(member, change.view, dial, links, timeout_s) for member in change.tellings]
    missed = "; ".join(str(failure) for failure in failures if failure)
    if missed:
        raise Untold(missed)


def await_service(view: View, dial: Dial, timeout_s: float) -> None:
    """Until every member serves in its role in this view. Else Untold."""
    for member in view.members:
        trouble = "does not serve yet"

        def serves(member: Member = member) -> bool:
            nonlocal trouble
            try:
                state = look_at(dial, member)
            except MemberError as error:
                trouble = str(error)
                if error.known_dead:
                    raise Untold(trouble) from error
                return False
            trouble = f"{member}: does not serve yet (role {state.role}, epoch {state.epoch}, applied {state.applied})"
            return state.serving and state.epoch == view.epoch

        try:
            wait_until(serves, timeout_s)
        except WaitTimeout as error:
            raise Untold(trouble) from error


def _tell(member: Member, view: View, dial: Dial, links: Links, timeout_s: float) -> MemberError | None:
    """Tried again on a new connection until it works, the member is known to be dead, or time is over."""
    failure: MemberError | None = None
    link = links.get(member.run_id)

    def told() -> bool:
        nonlocal failure, link
        at_hand, link = link, None
        try:
            _adopt(member, view, dial, at_hand)
            failure = None
        except MemberError as error:
            failure = error
        return failure is None or failure.known_dead

    with contextlib.suppress(WaitTimeout):
        wait_until(told, timeout_s, interval_s=0.1)
    return failure


def _adopt(member: Member, view: View, dial: Dial, at_hand: MemberLink | None) -> None:
    if at_hand:
        at_hand.adopt(view)
        return
    link = connect(dial, member, view)
    try:
        link.adopt(view)
    finally:
        link.close()
