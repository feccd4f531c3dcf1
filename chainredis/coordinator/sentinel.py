# SPDX-License-Identifier: Apache-2.0
"""The master as a Redis Sentinel: what `SENTINEL …` answers, what is published, and the section of INFO. Pure.

The forms are those of Redis's own Sentinel, so that its clients find the head, the other members and the other masters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chainredis.protocol.errors import CommandError
from chainredis.protocol.member_record import MemberStatus
from chainredis.protocol.view import Endpoint, Member

# A reply of RESP. Text is a simple string by itself, and a bulk string in a list or a map. Bytes are a bulk string.
# None is a null array.
Answer = str | bytes | int | Sequence["Answer"] | Mapping[str, "Answer"] | None
Event = tuple[str, str]  # a channel, and the message for it

# States of a member that does not serve any more, as INFO names them (`MemberStatus.word`).
DOWN = ("dead", "restarted")
# Where no master is asked more than another, one is enough to agree (docs/clients.md, "Sentinel").
QUORUM = 1
UNKNOWN = MemberStatus("alive", 0, -1, "none")
HELP = (
    "SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CKQUORUM <master-name>",
    "    Check whether this master can change the chain now.",
    "GET-MASTER-ADDR-BY-NAME <master-name>",
    "    Return the host and port of the chain's head.",
    "MASTER <master-name>",
    "    Show the state of the chain's head.",
    "MASTERS",
    "    Show a list of the one chain and its head's state.",
    "MYID",
    "    Return the run_id of this master.",
    "REPLICAS <master-name>",
    "    Show a list of the members behind the head and their state.",
    "SENTINELS <master-name>",
    "    Show a list of the other masters and their state.",
    "HELP",
    "    Print this help.",
)


class NoQuorum(CommandError):
    """The master cannot change the chain now."""

    first_word = "NOQUORUM"


@dataclass(frozen=True)
class OtherMaster:
    """Another master of the same chain. run_id: 40 hexadecimal digits."""

    endpoint: Endpoint
    run_id: str


@dataclass(frozen=True)
class Sight:
    """What a master knows when a client asks.

    name: of the chain, for clients. own_run_id: of this master's server. epoch: of the view, 0 without one. members: in
    the view, head first. fallen: those that a fault took out, and that come back. statuses: of members, by run_id.
    down_after_ms: how long a member may be silent. others: the other masters. trouble: why nothing can be changed now,
    empty if it can.
    """

    name: str
    own_run_id: str
    epoch: int = 0
    members: tuple[Member, ...] = ()
    fallen: tuple[Member, ...] = ()
    statuses: dict[str, MemberStatus] = field(default_factory=dict)
    down_after_ms: int = 0
    others: tuple[OtherMaster, ...] = ()
    trouble: str = ""

    @property
    def absent(self) -> tuple[Member, ...]:
        """The fallen whose place no member of the view has taken."""
        present = {member.endpoint for member in self.members}
        return tuple(member for member in self.fallen if member.endpoint not in present)

    def status(self, member: Member) -> MemberStatus:
        return self.statuses.get(member.run_id, UNKNOWN)

    def is_down(self, member: Member) -> bool:
        return member in self.fallen or self.status(member).word in DOWN


# --------------------------------------------------------------------------------------------------------- answers


def answer(sight: Sight, words: Sequence[bytes]) -> Answer:
    """The reply to `SENTINEL` and these words, whose number Redis has checked. CommandError for an error reply."""
    subcommand, *arguments = (word.decode(errors="replace") for word in words)
    subcommand = subcommand.upper()
    if subcommand in _OF_ALL:
        return _OF_ALL[subcommand](sight)
    is_known = arguments == [sight.name] and bool(sight.members)
    if subcommand == "GET-MASTER-ADDR-BY-NAME":
        return [sight.members[0].host, str(sight.members[0].port)] if is_known else None
    if subcommand not in _OF_ONE:
        raise CommandError(f"unknown subcommand '{subcommand[:128]}'. Try SENTINEL HELP.")
    if not is_known:
        raise CommandError("No such master with that name")
    return _OF_ONE[subcommand](sight)


def _masters(sight: Sight) -> Answer:
    return [_head(sight)] if sight.members else []


def _head(sight: Sight) -> dict[str, Answer]:
    head, *rest = sight.members
    flags = ["s_down", "o_down", "master"] if sight.is_down(head) else ["master"]
    return {
        **_process(sight, sight.name, head, flags),
        "role-reported": "master",
        "role-reported-time": "0",
        "config-epoch": str(sight.epoch),
        "num-slaves": str(len(rest) + len(sight.absent)),
        "num-other-sentinels": str(len(sight.others)),
        "quorum": str(QUORUM),
        "failover-timeout": str(sight.down_after_ms),
        "parallel-syncs": "1",
    }


def _replicas(sight: Sight) -> Answer:
    return [_replica(sight, member) for member in (*sight.members[1:], *sight.absent)]


def _replica(sight: Sight, member: Member) -> dict[str, Answer]:
    is_down = sight.is_down(member)
    flags = ["s_down", "slave", "disconnected"] if is_down else ["slave"]
    head, status = sight.members[0], sight.status(member)
    return {
        **_process(sight, str(member), member, flags),
        "role-reported": "slave",
        "role-reported-time": "0",
        "master-link-down-time": str(status.silent_ms if is_down else 0),
        "master-link-status": "err" if is_down else "ok",
        "master-host": head.host,
        "master-port": str(head.port),
        "slave-priority": "0",  # the master alone appoints a head
        "slave-repl-offset": str(status.applied + 1),
        "replica-announced": "1",
    }


def _process(sight: Sight, name: str, member: Member, flags: list[str]) -> dict[str, Answer]:
    """The fields that a head and the others have in common."""
    silent_ms, is_down = sight.status(member).silent_ms, sight.is_down(member)
    return {
        **_instance(name, member.endpoint, member.run_id, flags, silent_ms),
        **({"s-down-time": str(silent_ms)} if is_down else {}),
        **({"o-down-time": str(silent_ms)} if "o_down" in flags else {}),
        "down-after-milliseconds": str(sight.down_after_ms),
        "info-refresh": str(silent_ms),
    }


def _sentinels(sight: Sight) -> Answer:
    return [
        {
            **_instance(other.run_id, other.endpoint, other.run_id, ["sentinel"], 0),
            "down-after-milliseconds": str(sight.down_after_ms),
            "last-hello-message": "0",
            "voted-leader": "?",
            "voted-leader-epoch": "0",
        }
        for other in sight.others
    ]


def _instance(name: str, endpoint: Endpoint, run_id: str, flags: list[str], silent_ms: int) -> dict[str, Answer]:
    return {
        "name": name,
        "ip": endpoint.host,
        "port": str(endpoint.port),
        "runid": run_id,
        "flags": ",".join(flags),
        "link-pending-commands": "0",
        "link-refcount": "1",
        "last-ping-sent": "0",
        "last-ok-ping-reply": str(silent_ms),
        "last-ping-reply": str(silent_ms),
    }


def _quorum(sight: Sight) -> Answer:
    usable = len(sight.others) + 1
    if sight.trouble:
        raise NoQuorum(f"{usable} usable Sentinels. {sight.trouble}")
    return f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached"


_OF_ALL: dict[str, Callable[[Sight], Answer]] = {
    "HELP": lambda _: list(HELP),
    "MASTERS": _masters,
    "MYID": lambda sight: sight.own_run_id.encode(),
}
_OF_ONE: dict[str, Callable[[Sight], Answer]] = {
    "CKQUORUM": _quorum,
    "MASTER": _head,
    "REPLICAS": _replicas,
    "SENTINELS": _sentinels,
    "SLAVES": _replicas,
}

# ------------------------------------------------------------------------------------------------------------ events


def events(before: Sight, after: Sight) -> Iterator[Event]:
    """What a Sentinel publishes when the stored chain changes. Both are of a chain with members.

    A member that a fault took out is down; one that an operator removed is forgotten, and nothing is said of it.
    """
    old, new = before.members[0], after.members[0]
    was_down = {member.endpoint for member in before.absent}
    for member in after.absent:
        if member.endpoint not in was_down:
            yield "+sdown", _named(before, member)
    if old.endpoint != new.endpoint:
        yield "+switch-master", f"{after.name} {old.host} {old.port} {new.host} {new.port}"
    elif old.run_id != new.run_id:
        yield "+reboot", _named(after, new)
    # Of a new head a Sentinel names all replicas anew.
    known = {member.endpoint for member in before.members} if old.endpoint == new.endpoint else {new.endpoint}
    for member in after.members:
        if member.endpoint in was_down:
            yield "-sdown", _named(after, member)
        elif member.endpoint not in known:
            yield "+slave", _named(after, member)


def _named(sight: Sight, member: Member) -> str:
    """A member as events name it."""
    head = sight.members[0]
    if member.endpoint == head.endpoint:
        return f"master {sight.name} {head.host} {head.port}"
    return f"slave {member} {member.host} {member.port} @ {sight.name} {head.host} {head.port}"


# -------------------------------------------------------------------------------------------------------------- INFO


def info(sight: Sight) -> dict[str, str | int]:
    """The section `# Sentinel` of INFO."""
    fields: dict[str, str | int] = {
        "sentinel_masters": 1 if sight.members else 0,
        "sentinel_tilt": 0,
        "sentinel_tilt_since_seconds": -1,
        "sentinel_running_scripts": 0,
        "sentinel_scripts_queue_length": 0,
        "sentinel_simulate_failure_flags": 0,
    }
    if sight.members:
        head, *rest = sight.members
        status = "odown" if sight.is_down(head) else "ok"
        fields["master0"] = (
            f"name={sight.name},status={status},address={head},slaves={len(rest) + len(sight.absent)},"
            f"sentinels={len(sight.others) + 1}"
        )
    return fields
