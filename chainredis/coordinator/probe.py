# SPDX-License-Identifier: Apache-2.0
"""Looks at servers: which process answers at an address, and in which state it is. Nothing here changes anything."""

import re
import socket
from dataclasses import dataclass, replace

from chainredis.protocol.errors import CommandError, Loading, MemberError, NotAMember, OtherProcess
from chainredis.protocol.member_record import BrokenLink
from chainredis.protocol.traits import Traits
from chainredis.protocol.view import Endpoint, Member
from chainredis.transport.addresses import Addresses, Resolve
from chainredis.transport.member_client import Dial, MemberLink
from chainredis.transport.member_state import MemberState

# How long a probe waits for the address of a host name.
LOOK_UP_S = 2.0

_BROKEN_LINK = re.compile(r"([0-9a-f]{40}):([0-9]{1,18}):([01])")


def resolve(host: str) -> str:
    """The numeric address of a host, IPv4 before IPv6. OSError or ValueError if it has none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def parse_broken_links(text: str) -> tuple[BrokenLink, ...]:
    """The broken links in a member's state or report (docs/protocol.md, "Views")."""
    found = _BROKEN_LINK.findall(text)
    return tuple(BrokenLink(run_id, int(milliseconds), dropped == "1") for run_id, milliseconds, dropped in found)


def reach(dial: Dial, member: Member) -> tuple[MemberLink, MemberState]:
    """A connection to this very process, and its state. MemberError; OtherProcess if another process answers there."""
    link = dial(Endpoint(member.address, member.port))
    try:
        state = state_of(link, member)
    except MemberError:
        link.close()
        raise
    return link, state


def at_current_address(addresses: Addresses, member: Member) -> Member:
    """The member, at the address that its host name has now."""
    return replace(member, address=addresses.of(member, LOOK_UP_S))


def state_of(link: MemberLink, member: Member, timeout_s: float | None = None) -> MemberState:
    """The state of this very process. MemberError; OtherProcess if another process answers."""
    try:
        state = link.state(timeout_s)
        found: str | None = state.run_id
    except NotAMember as error:
        found = error.run_id
        if found in (None, member.run_id):
            raise
    except Loading:
        found = None  # it was just started, and no view can name it yet
    if found != member.run_id:
        raise OtherProcess(f"{member}: another process answers there now, not the member {member.run_id}")
    return state


@dataclass
class ProbedServer:
    """A server that was just probed. Whoever has one closes the link."""

    member: Member
    link: MemberLink
    state: MemberState

    @property
    def has_data(self) -> bool:
        """Whether it has data, or may have some in a checkpoint that it cannot read."""
        return self.state.applied >= 0 or self.state.keys > 0 or self.state.lacks_checkpoint

    @property
    def traits(self) -> Traits:
        """What the server is. CommandError if it is of a kind that this version does not know."""
        try:
            return self.state.traits
        except ValueError as error:
            raise CommandError(f"{self.member} is of another version: {error}") from error


@dataclass(frozen=True)
class Prober:
    """Probes the servers that operators name. Errors are CommandError."""

    dial: Dial
    resolve: Resolve
    own_run_id: str

    def probe(self, endpoint: Endpoint) -> ProbedServer:
        """CommandError if nobody answers there, or it is not a member's server."""
        address = self.address(endpoint)
        try:
            link = self.dial(Endpoint(address, endpoint.port))
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        try:
            state = link.state()
            if state.run_id == self.own_run_id:
                raise CommandError(f"{endpoint} is this master itself, which cannot be a member")
            return ProbedServer(Member(endpoint.host, address, endpoint.port, state.run_id), link, state)
        except (MemberError, ValueError, CommandError) as error:
            link.close()
            if isinstance(error, NotAMember) and error.run_id == self.own_run_id:
                raise CommandError(f"{endpoint} is this master itself, which cannot be a member") from error
            raise error if isinstance(error, CommandError) else CommandError(str(error)) from error

    def address(self, endpoint: Endpoint) -> str:
        """The numeric address of the endpoint's host. CommandError if it has none."""
        try:
            return self.resolve(endpoint.host)
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot resolve the host {endpoint.host!r}: {error}") from error
