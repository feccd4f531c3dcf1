# SPDX-License-Identifier: Apache-2.0
"""What the servers of a chain say of themselves, and what an operator should do about it. Pure."""

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
COMES_BACK = "Start its server again: it comes back by itself, or by `add` where master.auto-return is off"


@dataclass(frozen=True)
class MemberStatus:
    """A member, by its INFO. trouble: why it said nothing."""

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
class ChainStatus:
    """A chain. master: by its INFO, empty if only members were asked."""

    epoch: int
    members: Sequence[MemberStatus]
    master: Mapping[str, str] = field(default_factory=dict)

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
        if not self.members:
            found.append("the chain has no members: `add` makes a server its first one")
        for member in self.members:
            found += member.findings(self.epoch)
        found += [f"{address}: was taken out after a fault. {COMES_BACK}" for address in self.fallen]
        return found

    def to_json(self) -> dict[str, Any]:
        """For programs; fields are added and never changed."""
        return {
            "kind": self.kind,
            "epoch": self.epoch,
            "members": [
                {
                    "address": str(member.endpoint),
                    "role": member.role,
                    "serving": member.serving,
                    **member.numbers,
                    "trouble": member.trouble,
                }
                for member in self.members
            ],
            "fallen": self.fallen,
            "findings": self.findings(),
        }
