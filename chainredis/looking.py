"""Whom the master reaches, and in which state: nothing here changes anything."""

import logging
import socket
from collections.abc import Iterable

from chainredis.errors import MemberError, NotAMember, OtherProcess, Rejected
from chainredis.member_client import Dial, MemberLink, MemberState
from chainredis.transitions import Health
from chainredis.view import Endpoint, Member, View

log = logging.getLogger(__name__)


def resolve(host: str) -> str:
    """The number of a host, IPv4 before IPv6. OSError or ValueError when it has none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def reach(dial: Dial, member: Member) -> tuple[MemberLink, MemberState]:
    """A connection to this very process, and its state. Raises MemberError; OtherProcess when it has ended."""
    link = dial(Endpoint(member.address, member.port))
    try:
        state = _state_of(link, member)
    except MemberError:
        link.close()
        raise
    return link, state


def _state_of(link: MemberLink, member: Member) -> MemberState:
    try:
        state = link.state()
        found: str | None = state.run_id
    except NotAMember as error:
        found = error.run_id
        if found in (None, member.run_id):
            raise
    if found != member.run_id:
        raise OtherProcess(f"{member}: another process answers there now, not the member {member.run_id}")
    return state


def connect(dial: Dial, member: Member, view: View) -> MemberLink:
    """A connection to a member on which both sides have proven the secret. Raises MemberError.

    A view's only member may have to hear of its secret yet, and then proves nothing.
    """
    link, _ = reach(dial, member)
    try:
        link.prove(view.secret, member.run_id)
    except Rejected:
        if view.members != (member,):
            link.close()
            raise
    except MemberError:
        link.close()
        raise
    return link


def look_at(dial: Dial, member: Member) -> MemberState:
    """The state of this very process. Raises MemberError."""
    link, state = reach(dial, member)
    link.close()
    return state


def health_of(dial: Dial, members: Iterable[Member]) -> Health:
    alive, dead = set(), set()
    for member in members:
        try:
            look_at(dial, member)
            alive.add(member.run_id)
        except MemberError as error:
            log.info("%s", error)
            if error.known_dead:
                dead.add(member.run_id)
    return Health(frozenset(alive), frozenset(dead))
