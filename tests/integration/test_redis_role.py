# SPDX-License-Identifier: Apache-2.0
"""ROLE and INFO replication at members: a client that looks for a master to write to finds the head, or none."""

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import ROOT, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, await_repair, info, paused, settled, state

DOCUMENTED = ("master_link_status", "master_host", "master_port", "slave_priority")


def replication(server: Server) -> dict[str, str]:
    return info(server, "replication")


def masters(servers: list[Server]) -> list[Server]:
    """The servers that call themselves master in both ROLE and INFO."""
    by_info = [server for server in servers if replication(server)["role"] == "master"]
    assert by_info == [server for server in servers if ask(server, "ROLE")[0] == b"master"]
    return by_info


def test_only_the_head_is_a_master(chain: StartChain) -> None:
    cluster = chain(3)
    for n in range(5):
        ask(cluster.head, "MEMBER.PUT", "k", n)
    settled(cluster)
    assert masters(cluster.members) == [cluster.head]
    head = replication(cluster.head)
    assert (head["connected_slaves"], head["master_repl_offset"]) == ("2", "5")
    assert head["slave1"] == f"ip=127.0.0.1,port={cluster.tail.port},state=online,offset=5,lag=0"
    replicas = [[b"127.0.0.1", b"%d" % each.port, b"5"] for each in cluster.members[1:]]
    assert ask(cluster.head, "ROLE") == [b"master", 5, replicas]
    for member in cluster.members[1:]:
        wait_until(lambda member=member: state(member).serving, 10)  # type: ignore[misc]
        assert ask(member, "ROLE") == [b"slave", b"127.0.0.1", cluster.head.port, b"connected", 5]
        found = replication(member)
        assert [found[name] for name in DOCUMENTED] == ["up", "127.0.0.1", str(cluster.head.port), "0"]
        assert found["master_replid"] == head["master_replid"]


def test_the_next_head_is_the_master_and_the_former_never_is(chain: StartChain) -> None:
    cluster = chain(3)
    former = cluster.head
    with paused(former):
        await_repair(cluster, former)
    wait_until(lambda: state(former).role == "removed", 10)
    assert masters([former, *cluster.members]) == [cluster.head]
    assert replication(former)["master_link_status"] == "down"
    assert ask(former, "ROLE")[:4] == [b"slave", b"127.0.0.1", cluster.head.port, b"connect"]
    former.kill()
    former.start()  # without data, but with the identity file
    assert state(former).role == "removed" and masters([former]) == []


def test_a_sole_member_is_a_master_and_one_of_no_chain_is_as_it_was(chain: StartChain, server: StartServer) -> None:
    cluster = chain(1)
    assert masters(cluster.members) == cluster.members
    assert ask(cluster.head, "ROLE") == [b"master", 0, []]
    for each in (server(MEMBER), server()):
        assert ask(each, "ROLE") == [b"master", 0, []]


def test_info_is_redis_own_otherwise(chain: StartChain, server: StartServer) -> None:
    tail = chain(2).tail
    native = server(MEMBER)
    for words in ([], ["all"], ["everything"], ["default"], ["server", "Replication"], ["REPLICATION", "keyspace"]):
        here, there = (ask(each, "INFO", *words).split(b"\r\n") for each in (tail, native))
        assert [line for line in here if line.startswith(b"#")] == [line for line in there if line.startswith(b"#")]
        names = [{line.partition(b":")[0] for line in text} for text in (here, there)]
        assert not {b"run_id", b"role", b"used_memory"} & names[1] - names[0]
    assert ask(tail, "INFO", "server").startswith(b"# Server\r\n")
    assert ask(tail, "INFO", "no-such-section") == b""
    assert isinstance(ask(tail, "ROLE", "x"), Error)


def test_in_transactions_scripts_and_resp3(chain: StartChain) -> None:
    tail = chain(2).tail
    with Talk(tail) as talk:
        assert talk("MULTI") == b"OK"
        assert talk("INFO", "replication") == b"QUEUED" == talk("ROLE")
        text, role = talk("EXEC")
        assert b"role:slave\r\n" in text and role[0] == b"slave"
    assert b"role:slave\r\n" in ask(tail, "EVAL", "return redis.call('info', 'replication')", 0)
    with redis.Redis(port=tail.port, protocol=3) as client:
        assert client.info("replication")["role"] == "slave"
        assert client.execute_command("ROLE")[0] in (b"slave", "slave")


@pytest.fixture
def users(chain: StartChain) -> Callable[[str], tuple[Cluster, list[Any]]]:
    """`users(rules)` starts a chain of two and returns the replies of ROLE and INFO to several users.

    The default user has these rules meanwhile.
    """

    def start(default: str) -> tuple[Cluster, list[Any]]:
        cluster = chain(2)
        tail = cluster.tail
        ask(tail, "ACL", "SETUSER", "probe", "on", ">p", "+role", "+info")
        ask(tail, "ACL", "SETUSER", "other", "on", ">o", "+ping", "+chain.role", "+chain.info")
        with Talk(tail) as admin:
            admin("ACL", "SETUSER", "default", *default.split())
            found = []
            for user, password in (("probe", "p"), ("other", "o")):
                with Talk(tail) as talk:
                    assert talk("AUTH", user, password) == b"OK"
                    found += [talk("ROLE"), talk("INFO", "replication")]
            with Talk(tail) as talk:  # before AUTH
                found += [talk("ROLE"), talk("INFO")]
            admin("ACL", "SETUSER", "default", "on", "nopass", "+@all")
        return cluster, found

    return start


@pytest.mark.parametrize("default", ["on", "off", "resetpass >secret"])
def test_rights_are_those_of_the_native_commands(users: Callable[[str], Any], default: str) -> None:
    _, (role, text, other_role, other_text, nobodys_role, nobodys_text) = users(default)
    if default.startswith("resetpass"):
        assert role.startswith("NOPERM") and text.startswith("NOPERM")  # it lacks +chain.role and +chain.info, too
    else:
        assert role[0] == b"slave" and b"role:slave" in text
    assert other_role.startswith("NOPERM") and "'role'" in other_role
    assert other_text.startswith("NOPERM") and "'info'" in other_text
    if default == "on":
        assert nobodys_role[0] == b"slave"
    else:
        assert nobodys_role == nobodys_text == "NOAUTH Authentication required."


def test_a_password_for_everybody(chain: StartChain) -> None:
    secret = {"requirepass": "secret", "member.auth-password": "secret"}
    cluster = chain(2, member_config=secret, master_config={"master.auth-password": "secret"})
    assert masters(cluster.members) == [cluster.head]
    with Talk(cluster.tail.endpoint) as talk:
        assert talk("ROLE") == talk("INFO") == "NOAUTH Authentication required."


def test_health_checks_by_the_lines_of_the_documentation(chain: StartChain) -> None:
    """The lines of HAProxy in docs/operations.md, "Health checks": what it sends, and the reply that it expects."""
    cluster = chain(3)
    settled(cluster)
    wait_until(lambda: all(state(member).serving for member in cluster.members), 10)
    document = (ROOT / "docs/operations.md").read_text()
    prefix = bytes.fromhex(re.findall(r"expect binary (\w+)", document)[0])
    pattern = re.findall(r"expect rstring (\S+)", document)[0].encode().replace(rb"\r\n", b"\r\n")
    heads = [member for member in cluster.members if raw(member, b"ROLE\r\n").startswith(prefix)]
    tails = [member for member in cluster.members if re.search(pattern, raw(member, b"INFO member\r\n"))]
    assert heads == [cluster.head] and tails == [cluster.tail]


def raw(server: Server, line: bytes) -> bytes:
    with socket.create_connection((server.endpoint.host, server.port), timeout=10) as connection:
        connection.sendall(line + b"QUIT\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))
