# SPDX-License-Identifier: Apache-2.0
"""chainredis.operator.doctor: what will hurt a chain that is well today."""

from dataclasses import replace

import pytest

from chainredis.operator.chain_status import ChainStatus, MasterStatus, MemberStatus
from chainredis.operator.doctor import Patient, examine
from chainredis.protocol.view import Endpoint

HEALTHY = {"redis_version": "7.0.15", "aof_enabled": "1", "member_lease_ms": "1900", "connected_clients": "3",
           "maxclients": "100", "maxmemory": "0"}  # fmt: skip
WELL = ChainStatus(7, ())


def patient(number: int, ahead_ms: float = 0, **info: str) -> Patient:
    return Patient(Endpoint("m", number), HEALTHY | info, ahead_ms)


def setting(**settings: str) -> Patient:
    return replace(patient(3), settings={name.replace("_", "-"): value for name, value in settings.items()})


def findings(*patients: Patient) -> list[str]:
    return [text for text in examine(WELL, patients) if "no members" not in text]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings(patient(1), patient(2, 40), patient(3, -40)) == []


def test_what_is_wrong_now_comes_first() -> None:
    master = MasterStatus(Endpoint("m", 9), {"master_state": "no chain"})
    first, *_ = examine(ChainStatus(7, (), [master]), [patient(1)])
    assert first == "the master says: no chain"


@pytest.mark.parametrize(
    ("worse", "text"),
    [
        (patient(3, redis_version="8.2.3"), "Redis 7.0.15 at m:1, m:2; Redis 8.2.3 at m:3"),
        (patient(3, valkey_version="9.1.2"), "Valkey 9.1.2 at m:3"),
        (patient(3, 900), "m:3: its clock differs by +900 ms"),
        (patient(3, -900), "m:3: its clock differs by -900 ms"),
        (patient(3, aof_enabled="0"), "m:3: no append-only file, unlike the others"),
        (patient(3, aof_last_write_status="err"), "m:3: aof_last_write_status is err"),
        (patient(3, member_lease_ms="0"), "m:3: no lease"),
        (patient(3, member_link_up_error="timed out"), "m:3: does not reach its predecessor: timed out"),
        (patient(3, connected_clients="81"), "m:3: has 81 clients of 100"),
        (patient(3, maxmemory="5"), "0 at m:1; 0 at m:2; 5 at m:3"),
        (patient(3, member_link_head="down"), "m:3: does not reach the head"),
        (replace(patient(3), endpoint=Endpoint("127.0.0.1", 3)), "127.0.0.1:3: a loopback address"),
        (replace(patient(3), endpoint=Endpoint("localhost", 3)), "localhost:3: a loopback address"),
        (replace(patient(3), is_open=True), "m:3: who does not log in may run commands"),
        (replace(patient(3), refused={"member": ["chain.copy"]}), "need: ACL SETUSER member +chain.copy"),
        (replace(patient(3), strangers=["member"]), "m:3: there is no user member"),
        (replace(patient(3), unexamined="m:3: says: NOPERM"), "not all could be examined: m:3: says: NOPERM"),
        (replace(patient(3), certificate_days=29.0), "m:3: its certificate ends in 29 days"),
        (setting(tls_port="6380"), "m:1, m:2: no tls-port, unlike the others"),
    ],
)
def test_each_check_finds_what_it_is_for(worse: Patient, text: str) -> None:
    (found,) = findings(patient(1), patient(2), worse)
    assert text in found


@pytest.mark.parametrize(
    ("version", "kind", "threads", "warned"),
    [
        ({"redis_version": "8.2.3"}, "put", "4", True),
        ({"redis_version": "8.2.3"}, "put", "1", False),
        ({"redis_version": "8.2.3"}, "all", "4", False),
        ({"redis_version": "7.4.0"}, "put", "4", False),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, "put", "4", False),
    ],
)
def test_io_threads_are_warned_of_where_they_make_writes_slower(
    version: dict[str, str], kind: str, threads: str, warned: bool
) -> None:
    info = HEALTHY | version | {"member_kind": kind}
    several = [replace(patient(number), info=info, settings={"io-threads": threads}) for number in (1, 2)]
    found = findings(*several)
    assert [text.startswith("m:1, m:2: io-threads above 1") for text in found] == [True] * warned


def test_settings_that_should_be_alike_are_compared() -> None:
    several = [replace(patient(1), settings={"maxclients": "10000"}), setting(maxclients="100")]
    (found,) = findings(*several)
    assert found.startswith("maxclients differs between the members: 10000 at m:1; 100 at m:3. Set it alike: ")


def test_tls_of_links_is_the_same_everywhere() -> None:
    yes = [replace(setting(tls_replication="yes"), endpoint=Endpoint("m", number)) for number in range(2)]
    (found,) = findings(*yes, setting(tls_replication="no"))
    assert "tls-replication differs between the members" in found
    assert "yes at m:0; yes at m:1; no at m:3" in found
    master = Endpoint("m", 9)
    found, *_ = [text for text in examine(WELL, yes, {master: {"tls-replication": "no"}}) if "no members" not in text]
    assert found.startswith("the master m:9: tls-replication no, unlike the members")
    told = {"tls-replication": "yes", "master.etcd-ca": ""}
    found, *_ = [text for text in examine(WELL, yes, {master: told}) if "no members" not in text]
    assert "without TLS, though tls-replication is yes" in found
    assert [text for text in examine(WELL, yes, {master: told | {"master.etcd-ca": "ca"}}) if "m:9" in text] == []


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("m:1,state=silent,silent_ms=900,checkpointed=-1,lifeline=held", "does not reach m:1 (silent, for 900 ms)"),
        ("m:1,state=alive,silent_ms=9,checkpointed=-1,lifeline=none", "m:1: the master holds no lifeline"),
    ],
)
def test_what_the_master_sees_of_members_counts(told: str, text: str) -> None:
    member = MemberStatus(Endpoint("m", 1), {"member_serving": "1"})
    master = MasterStatus(Endpoint("m", 9), {"master_state": "serving", "master_member_0": told})
    (found,) = examine(ChainStatus(7, [member], [master]), [patient(1), patient(2)])
    assert text in found


def test_what_only_a_whole_chain_has() -> None:
    assert "m:1 is the only member" in findings(patient(1))[0]
    assert "no member has an append-only file" in findings(patient(1, aof_enabled="0"), patient(2, aof_enabled="0"))[0]
