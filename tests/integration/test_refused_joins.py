# SPDX-License-Identifier: Apache-2.0
"""The old tail or the new member refuses the other's login: MASTER.ADD fails at once and names the reason."""

from time import monotonic

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, ask, assert_serves, state

# Settings of the tail, settings of the new member, a word of the error, and the settings that remedy it there.
PASSWORD = {"requirepass": "pw"}
CASES: dict[str, tuple[dict[str, str], dict[str, str], str, tuple[str, str]]] = {
    "no password": (PASSWORD, {}, "NOAUTH", ("member.auth-password", "pw")),
    "a wrong password": (PASSWORD, {"member.auth-password": "x"}, "WRONGPASS", ("member.auth-password", "pw")),
    "a password too many": ({}, {"member.auth-password": "x"}, "asks for no password", ("member.auth-password", "")),
}


def is_refused(cluster: Cluster, newcomer: Server, says: str, within_s: float = 5) -> None:
    """Assert that MASTER.ADD refuses the server, which is then no replica and does not fill its log."""
    began = monotonic()
    reply = ask(cluster.master, "MASTER.ADD", HOST, newcomer.port)
    assert isinstance(reply, Error) and reply.startswith("ERR ") and says in reply, reply
    assert monotonic() - began < within_s
    wait_until(lambda: ask(newcomer, "CONFIG", "GET", "replicaof") == [b"replicaof", b""], 5)
    assert "NOPERM" not in newcomer.log() or "aborted replication" not in newcomer.log()
    assert len(newcomer.log().splitlines()) < 60
    assert ask(cluster.master, "MASTER.GET_CHAIN") == [str(each.endpoint).encode() for each in cluster.members]


@pytest.mark.parametrize("case", CASES)
def test_a_new_member_that_cannot_log_in_at_the_old_tail(chain: StartChain, case: str) -> None:
    everywhere, own, says, (name, value) = CASES[case]
    own_password = dict.fromkeys(everywhere and ("master.auth-password",), "pw")
    cluster = chain(1, member_config=everywhere, master_config=own_password)
    newcomer = cluster.spare(**own)
    is_refused(cluster, newcomer, says)
    is_refused(cluster, newcomer, "member.auth-password")
    if everywhere:
        assert ask(cluster.tail, "CONFIG", "SET", "member.auth-password", "pw") == b"OK"
    assert ask(newcomer, "CONFIG", "SET", name, value) == b"OK"
    cluster.add(newcomer)
    assert_serves(cluster)


def test_a_user_without_the_right_to_replicate_is_told_before_anything_is_discarded(chain: StartChain) -> None:
    cluster = chain(1)
    assert ask(cluster.tail, "ACL", "SETUSER", "peer", "on", ">pw", "~*", "&*", "+@all", "-psync") == b"OK"
    newcomer = cluster.spare(**{"member.auth-user": "peer", "member.auth-password": "pw"})
    is_refused(cluster, newcomer, "may not run PSYNC")
    assert ask(cluster.tail, "ACL", "SETUSER", "peer", "+psync") == b"OK"
    assert ask(newcomer, "ACL", "SETUSER", "peer", "on", ">pw", "~*", "&*", "+@all") == b"OK"
    assert ask(cluster.tail, "CONFIG", "SET", "member.auth-user", "") == b"OK"
    cluster.add(newcomer)
    assert_serves(cluster)


def test_an_old_tail_that_cannot_log_in_at_the_new_member(chain: StartChain) -> None:
    cluster = chain(1, master_config={"master.auth-password": "pw"}, member_config=PASSWORD)
    newcomer = cluster.spare(**{"member.auth-password": "pw"})
    is_refused(cluster, newcomer, f"set member.auth-password (and member.auth-user) at {cluster.tail.endpoint}")
    assert ask(cluster.tail, "CONFIG", "SET", "member.auth-password", "pw") == b"OK"
    cluster.add(newcomer)
    assert_serves(cluster)


CHECKPOINTS = {"member.gcs-mode": "checkpoint-flush"}


def flush_one(cluster: Cluster, value: bytes) -> None:
    assert ask(cluster.head, "MEMBER.PUT", "flushed", value) == 0
    assert ask(cluster.tail, "TAIL.CHECKPOINT") == 1
    wait_until(lambda: ask(cluster.head, "HEAD.FLUSH") == 1, 10)
    wait_until(lambda: ask(cluster.tail, "GET", "flushed") is None, 10)


def test_a_page_of_the_checkpoint_that_redis_would_not_let_through(chain: StartChain) -> None:
    cluster = chain(1, member_config=CHECKPOINTS)
    flush_one(cluster, b"x" * 3_000_000)
    assert ask(cluster.tail, "CONFIG", "SET", "client-output-buffer-limit", "normal 2mb 1mb 10") == b"OK"
    newcomer = cluster.spare()
    is_refused(cluster, newcomer, "client-output-buffer-limit normal")
    assert ask(cluster.tail, "CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"OK"
    cluster.add(newcomer)
    assert len(ask(newcomer, "READ", "flushed")) == 3_000_000


def test_the_longest_password_is_one_as_well_as_a_short_one(chain: StartChain) -> None:
    password = "p" * 511
    config = CHECKPOINTS | {"requirepass": password, "member.auth-password": password}
    cluster = chain(1, member_config=config, master_config={"master.auth-password": password})
    flush_one(cluster, b"x")
    cluster.add(cluster.spare())
    assert ask(cluster.tail, "READ", "flushed") == b"x"


def test_additions_are_called_off_with_remove(chain: StartChain) -> None:
    """One addition is under way, and another waits for it."""
    cluster = chain(1)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", f"key-{i}", "v", "nobody") for i in range(500)])
    slow = ("CONFIG", "SET", "rdb-key-save-delay")
    assert ask(cluster.tail, *slow, 100_000) == b"OK"
    first, second = cluster.spare(), cluster.spare()
    with Talk(cluster.master) as one, Talk(cluster.master) as two:
        one.send("MASTER.ADD", HOST, first.port)
        wait_until(lambda: state(first).role == "learner", 10)
        two.send("MASTER.ADD", HOST, second.port)
        assert two.is_silent()
        for server, talk in ((second, two), (first, one)):
            began = monotonic()
            assert ask(cluster.master, "MASTER.REMOVE", HOST, server.port) == b"OK"
            reply = talk.receive()
            assert isinstance(reply, Error) and "has called this off" in reply
            assert monotonic() - began < 5
    assert ask(cluster.tail, *slow, 0) == b"OK"
    wait_until(lambda: ask(first, "CONFIG", "GET", "replicaof") == [b"replicaof", b""], 5)
    assert "not in the chain" in ask(cluster.master, "MASTER.REMOVE", HOST, first.port)
    for server in (first, second):
        cluster.add(server)
    assert_serves(cluster)


def test_a_client_that_does_not_wait_for_its_addition_gets_it_all_the_same(chain: StartChain) -> None:
    cluster = chain(1)
    newcomer = cluster.spare()
    newcomer.pause()
    with Talk(cluster.master) as talk:
        talk.send("MASTER.ADD", HOST, newcomer.port)
        assert talk.is_silent()
    newcomer.resume()
    wait_until(lambda: len(ask(cluster.master, "MASTER.GET_CHAIN")) == 2, 10)
    assert "a client has gone without waiting" in cluster.master.log()
    cluster.members.append(newcomer)
    wait_until(lambda: state(newcomer).serving, 10)
    assert_serves(cluster)
