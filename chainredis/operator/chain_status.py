# SPDX-License-Identifier: Apache-2.0
"""What the servers of a chain say of themselves, and what an operator should do about it. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainredis.protocol.view import Endpoint

# Of `INFO member`, shown for each member: the field, and the name in the output. All are integers.
NUMBERS = {
    "member_epoch": "epoch",
    "member_applied": "applied",
    "member_committed": "committed",
    "member_gate_held_bytes": "held_bytes",
    "member_gate_held_clients": "held_clients",
    "member_gate_oldest_held_ms": "oldest_held_ms",
    "member_broken_invariants": "broken_invariants",
}
# What is wrong with a member if the field is not empty.
ERRORS = {
    "member_gate_error": "its gate does not work",
    "member_checkpoint_error": "its checkpoints fail",
    "member_join_error": "its copy failed",
    "member_lifeline_error": "its lifeline port does not work",
}
KEYS = re.compile(r"keys=(\d+)")    # of each database, in `INFO keyspace`
COMES_BACK = "Start its server again: it comes back by itself, or by `add` where master.auto-return is off"


@dataclass(frozen=True)
class MemberStatus:
    """A member, by its INFO, sections `member` and `keyspace`. trouble: why it said nothing."""

    endpoint: Endpoint
    info: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def role(self) -> str:
        return self.info.get("member_role", "")

    @property
    def serving(self) -> bool:
        return self.info.get("member_serving") == "1"

    @property
    def numbers(self) -> dict[str, int]:
        """The values of NUMBERS; those that this member's version does not tell are absent."""
        return {name: int(self.info[field]) for field, name in NUMBERS.items() if field in self.info}

    @property
    def keys(self) -> int:
        """In memory, in all databases."""
        databases = (value for name, value in self.info.items() if name.startswith("db"))
        return sum(int(found[1]) for value in databases if (found := KEYS.match(value)))

    def findings(self, epoch: int) -> Iterator[str]:
        """What is wrong with it, and what to do."""
        if self.trouble:
            yield f"{self.trouble}. The master takes it out when it is certain. {COMES_BACK}"
            return
        if not self.serving:
            yield f"{self.endpoint}: does not serve (role {self.role or 'unknown'}): see its log"
        if self.numbers.get("epoch", epoch) != epoch:
            yield f"{self.endpoint}: is in the view of epoch {self.numbers['epoch']}, the chain in that of {epoch}"
        if broken := self.numbers.get("broken_invariants"):
            yield f"{self.endpoint}: {broken} broken invariants: report what its log says of them"
        for name, meaning in ERRORS.items():
            if why := self.info.get(name):
                yield f"{self.endpoint}: {meaning}: {why}"


@dataclass(frozen=True)
class MasterStatus:
    """A master, by its INFO. trouble: why it said nothing."""

    endpoint: Endpoint
    info: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def leads(self) -> bool:
        """A plain master leads always."""
        return not self.trouble and self.info.get("master_leads", "1") == "1"

    @property
    def state(self) -> str:
        return self.info.get("master_state", "")

    @property
    def leader(self) -> str:
        """The master that leads, as host:port; empty if this one does not know, or is a plain one."""
        return self.info.get("master_leader", "")


@dataclass(frozen=True)
class ChainStatus:
    """A chain. masters: those that were asked. outsider: the server that was asked, if it is in no view."""

    epoch: int
    members: Sequence[MemberStatus]
    masters: Sequence[MasterStatus] = ()
    outsider: MemberStatus | None = None

    @property
    def master(self) -> Mapping[str, str]:
        """The INFO of the master that leads, or of another one; empty if none has said anything."""
        answered = [master for master in self.masters if not master.trouble]
        return next((master.info for master in sorted(answered, key=lambda master: not master.leads)), {})

    @property
    def kind(self) -> str:
        kinds = (member.info.get("member_kind", "") for member in self.members)
        return self.master.get("master_kind") or next(filter(None, kinds), "")

    @property
    def fallen(self) -> list[str]:
        """Members that a fault took out, as host:port."""
        return list(filter(None, self.master.get("master_fallen", "").split(",")))

    def findings(self) -> list[str]:
        """What is wrong, most important first. Empty: all is well."""
        found = []
        state = self.master.get("master_state", "serving")
        if state != "serving":
            found.append(f"the master says: {state}")
        silent = (master for master in self.masters if master.trouble)
        found += [f"the master {master.trouble}. {self._without_a_master()}" for master in silent]
        if self.outsider:
            found.append(f"{self.outsider.endpoint}: is in no chain (role {self.outsider.role}): `add` it, at a master")
        elif not self.members:
            found.append("the chain has no members: `add` makes a server its first one")
        for member in self.members:
            found += member.findings(self.epoch)
        found += [f"{address}: was taken out after a fault. {COMES_BACK}" for address in self.fallen]
        return found

    def lag(self, member: MemberStatus) -> int | None:
        """By how many updates, or bytes of effects, the member is behind the head. None if one of them is silent."""
        head, own = (each.numbers.get("applied") for each in (self.members[0], member))
        return None if head is None or own is None else max(0, head - own)

    def _without_a_master(self) -> str:
        """What goes on without one that does not answer."""
        if any(master.leads for master in self.masters):
            return "Another master leads. Start this one again"
        return "No master repairs the chain, which writes and reads on. Start it again"

    def to_json(self) -> dict[str, Any]:
        """For programs; fields are added and never changed."""
        return {
            "kind": self.kind,
            "epoch": self.epoch,
            "masters": [
                {
                    "address": str(master.endpoint),
                    "leads": master.leads,
                    "state": master.state,
                    "trouble": master.trouble,
                }
                for master in self.masters
            ],
            "members": [
                {
                    "address": str(member.endpoint),
                    "role": member.role,
                    "serving": member.serving,
                    **member.numbers,
                    "lag": self.lag(member),
                    "trouble": member.trouble,
                }
                for member in self.members
            ],
            "fallen": self.fallen,
            "findings": self.findings(),
        }
