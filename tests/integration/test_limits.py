# SPDX-License-Identifier: Apache-2.0
"""Limits that an operator sets at a member are for clients.

Members and masters get through, or the chain names the reason and continues without that member.
"""

import threading
import time
from contextlib import suppress

import pytest
import redis

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, ask, assert_serves, await_chain, info, member_number

LONG = b"x" * 3_000_000
LIMITS = {
    "maxmemory-clients": "2mb",
    "client-output-buffer-limit": "normal 200kb 100kb 1 pubsub 1kb 1kb 1",
    "client-query-buffer-limit": "1mb",
    "proto-max-bulk-len": "1mb",
    "tcp-keepalive": "0",
    "timeout": "1",
}
PATIENT_WRITERS = {"member.write-timeout": "20000"}


def limit(server: Server, name: str, value: str) -> None:
    assert ask(server, "CONFIG", "SET", name, value) == b"OK"


def link_connects(server: Server) -> int:
    """The number of links made. Asked repeatedly, because a server over `maxmemory-clients` evicts this client too."""
    answers: list[int] = []

    def is_answered() -> bool:
        with suppress(redis.ConnectionError):
            answers.append(member_number(server, "link_connects"))
        return bool(answers)

    wait_until(is_answered, 10)
    return answers[0]


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_for_clients_does_not_hold_up_the_chain(chain: StartChain, name: str) -> None:
    cluster = chain(3)
    for member in cluster.members[1:]:
        limit(member, name, LIMITS[name])
    before = [link_connects(member) for member in cluster.members]
    if name == "timeout":
        time.sleep(3)
    assert ask(cluster.head, "MEMBER.PUT", "long", LONG) == 0
    assert [link_connects(member) for member in cluster.members] == before
    assert len(cluster.members) == len(ask(cluster.master, "MASTER.GET_CHAIN"))
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 1  # the limited member may now evict its other clients


def test_a_member_that_lets_no_connection_in_is_left_out(chain: StartChain) -> None:
    cluster = chain(2, master_config={"master.heartbeat-timeout": "3000"}, member_config=PATIENT_WRITERS)
    head, full = cluster.members
    with Talk(full) as only:
        assert only("CONFIG", "SET", "maxclients", "1") == b"OK"
        assert only("CLIENT", "KILL", "TYPE", "normal") > 0
        assert ask(head, "MEMBER.PUT", "k", "v") == 0
        await_chain(cluster, head)


def test_a_member_whose_limit_cannot_be_lifted_is_left_out_and_named(chain: StartChain) -> None:
    """Its predecessor has no right to CLIENT NO-EVICT there, so the connection is closed at every attempt."""
    cluster = chain(2, master_config={"master.heartbeat-timeout": "4000"}, member_config=PATIENT_WRITERS)
    head, limited = cluster.members
    assert ask(limited, "ACL", "SETUSER", "peer", "on", ">pw", "~*", "&*", "+@all", "-client|no-evict") == b"OK"
    limit(head, "member.auth-user", "peer")
    limit(head, "member.auth-password", "pw")
    connects = member_number(head, "link_connects")
    assert not isinstance(ask(limited, "CLIENT", "KILL", "TYPE", "normal"), Error)
    wait_until(lambda: member_number(head, "link_connects") > connects, 10)
    limit(limited, "maxmemory-clients", "2mb")
    seen: list[str] = []
    with head.client(timeout_s=30) as client:

        def is_left_out() -> bool:
            seen.append(info(cluster.master, "master")["master_state"])
            return len(ask(cluster.master, "MASTER.GET_CHAIN")) == 1

        answers: list[object] = []
        writer = threading.Thread(target=lambda: answers.append(client.execute_command("MEMBER.PUT", "long", LONG)))
        writer.start()
        wait_until(is_left_out, 20, 0.05)
        writer.join()
    assert answers == [0]
    assert any("has no connection to" in state and "that lasts" in state for state in seen), set(seen)
    cluster.members[:] = [head]
    assert_serves(cluster)
