# SPDX-License-Identifier: Apache-2.0
"""What a server is: which kind of chain it can be in, and whether it can apply what another one has executed.

In a chain of kind `all` the head's server executes a command, and the others apply its effects. An effect that a server
does not know is lost in silence. Any member may become the head, so each server has to know what the servers before it
know. In a chain of kind `put` all members apply the same few commands, whatever else their servers are.

In any chain a copy goes as a file of Redis (RDB). A server that cannot load it finds out when its own data is gone.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from chainredis.protocol.view import Kind, Member

# The modules of this project, which may differ from member to member: a chain is upgraded one member at a time.
OWN_MODULES = frozenset({"member", "master"})
# Valkey and Redict began as Redis 7.2, and take what an older Redis says.
FORKS = ("valkey", "redict")
LAST_COMMON = (7, 2)
# The RDB's version in which a server writes a copy for one of another family, and the newest of such that it loads.
# Valkey from 9.0 on has a later one among its own kind, and writes that only for a server that says it is one of them.
RDB_VERSIONS = {"redis": {(7, 0): 10, (7, 2): 11, (7, 4): 12}, "valkey": {(7, 2): 11}, "redict": {(7, 3): 12}}
# Of a Redis that is later than this one nobody knows here whether others load its copies.
LAST_TRIED_REDIS = (8, 2)
UNKNOWN_RDB = 79


class Family(NamedTuple):
    """A server's name, and the part of its version that says what it knows: no patch adds a command."""

    name: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name.capitalize()} {'.'.join(map(str, self.version))}"

    def knows(self, other: "Family") -> bool:
        """Returns True if a server of this family knows everything that one of the other family does."""
        if self.name == other.name:
            return self.version >= other.version
        return self.name in FORKS and other.name == "redis" and other.version <= LAST_COMMON

    def loads(self, other: "Family") -> bool:
        """Returns True if a server of this family can load what one of the other family writes for it."""
        if self.name == other.name and self.version >= other.version:
            return True
        return other.writes <= self.reads

    @property
    def reads(self) -> int:
        """The newest version of an RDB of another family that it loads."""
        return max((rdb for since, rdb in RDB_VERSIONS[self.name].items() if since <= self.version), default=0)

    @property
    def writes(self) -> int:
        """The version of the RDB that it writes for another family."""
        return UNKNOWN_RDB if self.name == "redis" and self.version > LAST_TRIED_REDIS else self.reads


@dataclass(frozen=True)
class Traits:
    """What a server tells of itself in `CHAIN.STATE` (docs/protocol.md, "Views").

    kind: of the chain that it is in or would be in. version: name and number, as `redis 7.0.15`. databases: how many
    SELECT takes. modules: versions by name. writes: a digest of the names of its write commands. tls: what its setting
    tls-replication says.
    """

    kind: Kind = Kind.PUT
    version: str = ""
    databases: int = 0
    modules: frozenset[tuple[str, str]] = frozenset()
    writes: str = ""
    tls: bool = False

    @property
    def family(self) -> Family | None:
        """None if the version is not of the form of the servers that this project knows."""
        found = re.fullmatch(r"(redis|valkey|redict) (\d+)\.(\d+)\..*", self.version)
        return Family(found[1], (int(found[2]), int(found[3]))) if found else None


def parse_modules(text: str) -> frozenset[tuple[str, str]]:
    """Names and versions in `name:version name:version`, without the modules of this project."""
    pairs = (word.rpartition(":") for word in text.split())
    return frozenset((name, version) for name, _, version in pairs if name not in OWN_MODULES)


def why_of_other_kind(member: Member, has: Kind, chain: Kind) -> str:
    """Why a server that is for a chain of kind `has` cannot be in one of kind `chain`, for people; empty if it can."""
    if has is chain:
        return ""
    return (
        f"{member} is for a chain of kind {has}, and this chain is of kind {chain}: start that server with "
        f"member.commands {chain}"
    )


def why_of_other_tls(member: Member, has: bool, whose: str, wants: bool) -> str:
    """Why a server with tls-replication `has` and one with `wants` cannot talk, for people; empty if they can."""
    if has == wants:
        return ""
    said = {True: "yes", False: "no"}
    return (
        f"{member} has tls-replication {said[has]}, and {whose} has tls-replication {said[wants]}: they could not talk "
        f"to each other. Set tls-replication {said[wants]} there, and give the port that goes with it"
    )


def why_it_cannot_follow(member: Member, has: Traits, tail: Member, before: Traits) -> str:
    """Why the server `member` cannot come after the chain's tail, for people; empty if it can."""
    if before.kind is Kind.PUT:
        return ""
    if has.family is None or before.family is None or not has.family.knows(before.family):
        return (
            f"{member} is {_shown(has)}, and the chain's tail {tail} is {_shown(before)}, of which it would not know "
            f"all commands: start {member} with that version or a later one"
        )
    if has.databases != before.databases:
        return (
            f"{member} has {has.databases} databases, and the chain's tail {tail} has {before.databases}: start "
            f"{member} with databases {before.databases}"
        )
    return _why_of_other_commands(member, has, tail, before)


def why_it_cannot_be_copied(member: Member, has: Traits, tail: Member, before: Traits) -> str:
    """Why the server `member` cannot load a copy of the chain's tail, for people; empty if it can, or nobody knows."""
    if has.family is None or before.family is None or has.family.loads(before.family):
        return ""
    return (
        f"{member} is {has.family}, which cannot load a copy of the chain's tail {tail}, {before.family}: start "
        f"{member} with that version or a later one; its data is as it was"
    )


def _why_of_other_commands(member: Member, has: Traits, tail: Member, before: Traits) -> str:
    """A server of a later version may have modules and commands of its own: they came with that version."""
    is_same = has.family == before.family
    missing = before.modules - has.modules
    surplus = has.modules - before.modules if is_same else frozenset()
    if missing:
        return f"{member} lacks what the chain's tail {tail} has, {_listed(missing)}: load it there, and try again"
    if surplus:
        return f"{member} has {_listed(surplus)}, which the chain's tail {tail} lacks: start {member} without it"
    if is_same and has.writes != before.writes:
        return (
            f"{member} has other write commands than the chain's tail {tail}: switch the same ones off at both "
            "(rename-command), and let both have the same version"
        )
    return ""


def _shown(traits: Traits) -> str:
    return str(traits.family) if traits.family else f"of a version that this master does not know ({traits.version!r})"


def _listed(modules: frozenset[tuple[str, str]]) -> str:
    return "the module " + ", ".join(f"{name} {version}" for name, version in sorted(modules))
