# SPDX-License-Identifier: Apache-2.0
"""What will hurt a chain that is well today, and what to change. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from chainredis.operator.chain_status import ChainStatus
from chainredis.protocol.view import Endpoint

SKEW_MS = 250  # clocks that NTP keeps differ by a few milliseconds
CROWDED = 0.8  # of maxclients


@dataclass(frozen=True)
class Patient:
    """A member that answered: all of its INFO, and how far its clock was ahead of the asker's, in ms."""

    endpoint: Endpoint
    info: Mapping[str, str]
    ahead_ms: float

    @property
    def version(self) -> str:
        if valkey := self.info.get("valkey_version"):
            return f"Valkey {valkey}"
        return f"Redis {self.info.get('redis_version', '?')}"

    def number(self, field: str) -> int:
        """The field's value; 0 if it is absent."""
        text = self.info.get(field, "")
        return int(text) if text.isdecimal() else 0


Check = Callable[[Sequence[Patient]], Iterator[str]]


def examine(status: ChainStatus, patients: Sequence[Patient]) -> list[str]:
    """What is wrong now, and then what will be. Empty: nothing was found."""
    return status.findings() + [finding for check in CHECKS for finding in check(patients)]


def _names(patients: Sequence[Patient]) -> str:
    return ", ".join(str(patient.endpoint) for patient in patients)


# ----------------------------------------------------------------------------------------------------- checks


def _size(patients: Sequence[Patient]) -> Iterator[str]:
    if len(patients) == 1:
        yield f"{_names(patients)} is the only member: its end is the chain's. `add` another server"


def _versions(patients: Sequence[Patient]) -> Iterator[str]:
    by_version: dict[str, list[Patient]] = {}
    for patient in patients:
        by_version.setdefault(patient.version, []).append(patient)
    if len(by_version) > 1:
        several = "; ".join(f"{version} at {_names(those)}" for version, those in by_version.items())
        yield f"the versions differ: {several}. Older ones must not follow a newer head: upgrade the tail first"


def _clocks(patients: Sequence[Patient]) -> Iterator[str]:
    usual = median(patient.ahead_ms for patient in patients) if patients else 0
    for patient in patients:
        if abs(off := patient.ahead_ms - usual) > SKEW_MS:
            yield (
                f"{patient.endpoint}: its clock differs by {off:+.0f} ms from the others', so a key that expires is "
                "gone earlier or later there: run NTP on the machine"
            )


def _files(patients: Sequence[Patient]) -> Iterator[str]:
    without = [patient for patient in patients if patient.info.get("aof_enabled") == "0"]
    if without and len(without) == len(patients):
        yield (
            "no member has an append-only file: if all end at once, what was written since the last RDB is lost. "
            "appendonly yes, and appendfsync always where nothing may be"
        )
    elif without:
        yield f"{_names(without)}: no append-only file, unlike the others: appendonly yes"
    for patient in patients:
        for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
            if patient.info.get(field, "ok") != "ok":
                yield f"{patient.endpoint}: {field} is {patient.info[field]}: see its disk and its log"


def _leases(patients: Sequence[Patient]) -> Iterator[str]:
    without = [patient for patient in patients if patient.info.get("member_lease_ms") == "0"]
    if without and len(patients) > 1:
        yield (
            f"{_names(without)}: no lease, so each answer waits for a question to the other members. No master reaches "
            "it: see that a master runs, and the network between them"
        )


def _links(patients: Sequence[Patient]) -> Iterator[str]:
    for patient in patients:
        for field, neighbour in (("member_link_down", "successor"), ("member_link_up", "predecessor")):
            if why := patient.info.get(f"{field}_error"):
                yield f"{patient.endpoint}: does not reach its {neighbour}: {why}"


def _clients(patients: Sequence[Patient]) -> Iterator[str]:
    for patient in patients:
        connected, most = patient.number("connected_clients"), patient.number("maxclients")
        if most and connected > CROWDED * most:
            yield f"{patient.endpoint}: has {connected} clients of {most}: raise maxclients and the limit of open files"


def _memory(patients: Sequence[Patient]) -> Iterator[str]:
    limits = {patient.number("maxmemory") for patient in patients}
    if len(limits) > 1:
        yield (
            "maxmemory differs between the members: "
            + "; ".join(f"{patient.number('maxmemory')} at {patient.endpoint}" for patient in patients)
            + ". Any of them may become the head, by whose limit keys are evicted and writes refused"
        )


CHECKS: Sequence[Check] = (_size, _versions, _clocks, _files, _leases, _links, _clients, _memory)
