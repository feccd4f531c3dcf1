# SPDX-License-Identifier: Apache-2.0
"""What will hurt a chain that is well today, and what to change. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from statistics import median

from chainredis.operator.chain_status import ChainStatus
from chainredis.protocol.view import Endpoint

SKEW_MS = 250  # clocks that NTP keeps differ by a few milliseconds
RENEW_DAYS = 30  # before a certificate ends
CROWDED = 0.8  # of maxclients
RECIPES = 'docs/operations.md, "Users"'
TLS = 'docs/operations.md, "TLS"'
# Settings that every member should have alike, and why. Any member may become the head.
ALIKE = {
    "maxmemory-policy": "the head's says which keys are evicted",
    "maxclients": "the clients of a head that fails have to fit into the next one",
    "proto-max-bulk-len": "what the head takes may be too long elsewhere",
    "member.cluster-announce": "clients of Redis Cluster find no head at those that do not announce one",
    "member.log-limit": "the head's says when writers are held back",
    "member.write-timeout": "the head's says when writers are told UNKNOWN",
    "member.hold-timeout": "replies are held for different times",
}


@dataclass(frozen=True)
class Patient:
    """A member that answered.

    info: all of its INFO. ahead_ms: how far its clock was ahead of the asker's, None if the asker may not see it, and
    settings: some of CONFIG GET, likewise empty. is_open: who does not log in may run commands. refused: commands that
    members and masters run there, and may not, by their user. strangers: their users that are not there. unexamined:
    why not all is known. certificate_days: how long its certificate is still valid, None if it was asked without TLS.
    """

    endpoint: Endpoint
    info: Mapping[str, str]
    ahead_ms: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    is_open: bool = False
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    strangers: Sequence[str] = ()
    unexamined: str = ""
    certificate_days: float | None = None

    @property
    def version(self) -> str:
        for fork in ("valkey", "redict"):
            if version := self.info.get(f"{fork}_version"):
                return f"{fork.capitalize()} {version}"
        return f"Redis {self.info.get('redis_version', '?')}"

    def number(self, field: str) -> int:
        """The field's value; 0 if it is absent."""
        text = self.info.get(field, "")
        return int(text) if text.isdecimal() else 0


Check = Callable[[Sequence[Patient]], Iterator[str]]


def examine(
    status: ChainStatus, patients: Sequence[Patient], masters: Mapping[Endpoint, Mapping[str, str]] | None = None
) -> list[str]:
    """What is wrong now, and then what will be. Empty: nothing was found. masters: some settings of masters."""
    found = [finding for check in CHECKS for finding in check(patients)]
    found += _links_of_masters(patients, masters or {})
    return [*status.findings(), *_as_the_master_sees_them(status), *found]


def _links_of_masters(patients: Sequence[Patient], masters: Mapping[Endpoint, Mapping[str, str]]) -> Iterator[str]:
    with_tls = {patient.settings["tls-replication"] for patient in patients if "tls-replication" in patient.settings}
    for endpoint, settings in masters.items():
        own = settings.get("tls-replication")
        if own and len(with_tls) == 1 and own not in with_tls:
            yield (
                f"the master {endpoint}: tls-replication {own}, unlike the members: it reaches them no more once a "
                f"connection is lost. Set it alike ({TLS})"
            )
        if own == "yes" and settings.get("master.etcd-ca") == "":
            yield (
                f"the master {endpoint}: tells etcd the view, and in it the chain's secret, without TLS, though "
                "tls-replication is yes: give etcd TLS, and set master.etcd-ca and member.etcd-ca"
            )


def _as_the_master_sees_them(status: ChainStatus) -> Iterator[str]:
    for place in range(len(status.members)):
        address, *pairs = status.master.get(f"master_member_{place}", "").split(",")
        seen = dict(pair.split("=", 1) for pair in pairs)
        if seen.get("state", "alive") != "alive":
            silence = f"{seen['state']}, for {seen.get('silent_ms')} ms"
            yield f"the master does not reach {address} ({silence}): see the network"
        elif seen.get("lifeline", "held") != "held":
            yield (
                f"{address}: the master holds no lifeline to it, so that its death is noticed only when its lease has "
                "run out: let the master reach the port member.lifeline-port"
            )


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
    clocks = {patient.endpoint: patient.ahead_ms for patient in patients if patient.ahead_ms is not None}
    usual = median(clocks.values()) if clocks else 0
    for endpoint, ahead_ms in clocks.items():
        if abs(off := ahead_ms - usual) > SKEW_MS:
            yield (
                f"{endpoint}: its clock differs by {off:+.0f} ms from the others', so a key that expires is "
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
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
            if patient.info.get(name, "ok") != "ok":
                yield f"{patient.endpoint}: {name} is {patient.info[name]}: see its disk and its log"


def _leases(patients: Sequence[Patient]) -> Iterator[str]:
    without = [patient for patient in patients if patient.info.get("member_lease_ms") == "0"]
    if without and len(patients) > 1:
        yield (
            f"{_names(without)}: no lease, so each answer waits for a question to the other members. No master reaches "
            "it: see that a master runs, and the network between them"
        )


def _links(patients: Sequence[Patient]) -> Iterator[str]:
    for patient in patients:
        for link, neighbour in (("member_link_down", "successor"), ("member_link_up", "predecessor")):
            if why := patient.info.get(f"{link}_error"):
                yield f"{patient.endpoint}: does not reach its {neighbour}: {why}"
        if patient.info.get("member_link_head") == "down":
            yield f"{patient.endpoint}: does not reach the head, which hears of commits later so: see the network"


def _addresses(patients: Sequence[Patient]) -> Iterator[str]:
    """Members connect to each other, and clients to them, at the addresses that MASTER.ADD was given."""
    own = [patient for patient in patients if _is_loopback(patient.endpoint)]
    if own and len(own) < len(patients):
        yield (
            f"{_names(own)}: a loopback address, which is another server on each machine. `remove` it, and `add` it by "
            "an address that all members, masters and clients reach"
        )


def _is_loopback(endpoint: Endpoint) -> bool:
    try:
        return ip_address(endpoint.host).is_loopback
    except ValueError:
        return endpoint.host == "localhost"


def _strangers(patients: Sequence[Patient]) -> Iterator[str]:
    unguarded = [patient for patient in patients if patient.is_open and not _is_loopback(patient.endpoint)]
    if unguarded:
        yield (
            f"{_names(unguarded)}: who does not log in may run commands: requirepass, or ACLs with the user default "
            f"off ({RECIPES})"
        )


def _rights(patients: Sequence[Patient]) -> Iterator[str]:
    for patient in patients:
        for user in patient.strangers:
            yield f"{patient.endpoint}: there is no user {user}, as whom members or masters log in ({RECIPES})"
        for user, commands in patient.refused.items():
            rules = " ".join(f"+{command}" for command in commands)
            yield f"{patient.endpoint}: lacks rights that members and masters need: ACL SETUSER {user} {rules}"
    reasons = {patient.unexamined for patient in patients if patient.unexamined}
    if reasons:
        yield f"not all could be examined: {'; '.join(sorted(reasons))}"


def _tls(patients: Sequence[Patient]) -> Iterator[str]:
    known = (patient for patient in patients if patient.settings)
    links = {patient.endpoint: patient.settings.get("tls-replication", "no") for patient in known}
    if len(set(links.values())) > 1:
        different = "; ".join(f"{value} at {endpoint}" for endpoint, value in links.items())
        yield f"tls-replication differs between the members, which cannot talk to each other so: {different} ({TLS})"
    for patient in patients:
        days = patient.certificate_days
        if days is not None and days < RENEW_DAYS:
            yield (
                f"{patient.endpoint}: its certificate ends in {days:.0f} days: renew it, and let Redis read it again "
                f"there by CONFIG SET tls-cert-file, with the same name ({TLS})"
            )
    ports = [patient for patient in patients if patient.settings.get("tls-port", "0") != "0"]
    if ports and len(ports) < len(patients):
        without = [patient for patient in patients if patient not in ports]
        yield f"{_names(without)}: no tls-port, unlike the others: clients that use TLS do not reach the head there"


def _settings(patients: Sequence[Patient]) -> Iterator[str]:
    for name, why in ALIKE.items():
        values = {patient.endpoint: patient.settings[name] for patient in patients if name in patient.settings}
        if len(set(values.values())) > 1:
            different = "; ".join(f"{value} at {endpoint}" for endpoint, value in values.items())
            yield f"{name} differs between the members: {different}. Set it alike: {why}"


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


def _io_threads(patients: Sequence[Patient]) -> Iterator[str]:
    """Redis 8 hands each client that waits for a module from an I/O thread to the main thread and back."""
    slowed = [
        patient
        for patient in patients
        if patient.version.startswith("Redis 8.")
        and patient.info.get("member_kind") == "put"
        and patient.settings.get("io-threads", "1") != "1"
    ]
    if slowed:
        yield (
            f"{_names(slowed)}: io-threads above 1 makes writes that wait for their reply slower on Redis 8 in a chain "
            'of kind put: set io-threads 1 and restart (docs/redis.md, "I/O threads")'
        )


CHECKS: Sequence[Check] = (
    _size, _versions, _clocks, _files, _leases, _links, _addresses, _clients, _memory, _settings, _tls, _io_threads,
    _strangers, _rights,
)  # fmt: skip
