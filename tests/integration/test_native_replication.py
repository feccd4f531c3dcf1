# SPDX-License-Identifier: Apache-2.0
"""Redis's own replication cannot change a member, whatever its configuration says (design.md, section 4)."""

from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.ports import HOST, free_port
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    Error,
    Talk,
    Word,
    ask,
    assert_serves,
    be_removed,
    become_chain,
    info,
    member_number,
    savers,
    state,
)

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}


def follows_nobody(server: Server) -> bool:
    """Whether the server is no replica to Redis itself; the reply of ROLE shows the place in the chain instead."""
    return bool(ask(server, "CONFIG", "GET", "replicaof")[1] == b"")


@pytest.mark.parametrize("word", ["replicaof", "slaveof"])
def test_a_member_is_no_replica_whatever_its_configuration(chain: StartChain, server: StartServer, word: str) -> None:
    """The restarted member joins by log, and keeps its data when the other server comes back empty."""
    source = server()
    cluster = chain(2, member_config=ALWAYS)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    tail = cluster.tail
    cluster.remove(tail)
    tail.stop()
    tail.config[word] = f"{HOST} {source.port}"
    tail.start()
    assert follows_nobody(tail)
    assert f"was a replica of {HOST}:{source.port}" in tail.log()
    cluster.add(tail)
    assert member_number(tail, "joins_by_log") == 1
    source.kill()
    source.start()
    assert_serves(cluster)
    assert ask(tail, "READ", "k") == b"v"
    assert info(source, "replication")["connected_slaves"] == "0"


def test_a_replica_that_loads_the_module_is_none(server: StartServer) -> None:
    source, only = server(), server(enable_module_command="yes")
    assert ask(source, "SET", "k", "v") == b"OK"
    assert ask(only, "REPLICAOF", HOST, source.port) == b"OK"
    wait_until(lambda: ask(only, "GET", "k") == b"v", 20)
    module = str(Path("build/src/libmember.so").resolve())
    assert ask(only, "MODULE", "LOADEX", module, "CONFIG", "member.commands", "put") == b"OK"
    assert follows_nobody(only)
    assert ask(source, "SET", "k", "other") == b"OK"
    become_chain(only)
    assert ask(only, "READ", "k") == b"v"


def test_a_filter_that_comes_later_does_not_make_a_replica(server: StartServer, foreign_module: str) -> None:
    """The other filter turns its own command into REPLICAOF after this module's filter has seen it."""
    source, only = server(), server(MEMBER, enable_module_command="yes", **ALWAYS)
    assert ask(only, "MODULE", "LOAD", foreign_module) == b"OK"
    become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    assert ask(only, "FOREIGN.FOLLOW", HOST, source.port) == b"OK"
    assert follows_nobody(only)
    assert member_number(only, "roles_undone") == 1
    assert ask(only, "READ", "k") == b"v"
    assert ask(only, "MEMBER.PUT", "k", "w") == 1


def test_a_member_whose_data_is_about_to_be_dropped_ends_before(server: StartServer, foreign_module: str) -> None:
    only = server(MEMBER, enable_module_command="yes", **ALWAYS)
    assert ask(only, "MODULE", "LOAD", foreign_module) == b"OK"
    become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    with Talk(only) as talk:
        talk.send("FOREIGN.WIPE")
        wait_until(lambda: not only.running, 20)
    assert "about to drop all data" in only.log()
    only.start()
    assert (state(only).applied, state(only).keys) == (0, 1)


def test_a_replica_of_a_member_gets_no_place_in_the_chain(server: StartServer) -> None:
    """The replica gets a copy of the memory, with which no master lets it join by log."""
    source, only = server(MEMBER), server(MEMBER)
    become_chain(source)
    assert ask(source, "MEMBER.PUT", "k", "v") == 0
    assert ask(only, "REPLICAOF", HOST, source.port) == b"OK"
    wait_until(lambda: ask(only, "GET", "k") == b"v", 20)
    assert (state(only).role, state(only).applied) == ("alone", -1)
    assert "replica of another" in state(only).unfit


def test_the_file_is_not_rewritten_while_redis_replicates(chain: StartChain, server: StartServer) -> None:
    """CONFIG REWRITE during a copy would make this member a replica after its next start."""
    source, learner = server(MEMBER, rdb_key_save_delay="300000"), server(MEMBER)
    for number in range(5):
        ask(source, "MEMBER.PUT", f"key-{number}", "its copy takes a while")
    view = become_chain(source)
    assert ask(learner, "CHAIN.JOIN", *view.wire()) == b"OK"
    wait_until(lambda: not follows_nobody(learner) and len(savers(source)) == 1, 20)
    (child,) = savers(source)
    child.suspend()
    reply = ask(learner, "CONFIG", "REWRITE")
    assert isinstance(reply, Error) and "being copied" in reply
    assert ask(learner, "config", "GET", "port") == [b"port", b"%d" % learner.port]
    child.resume()
    wait_until(lambda: state(learner).join == "copied", 20)
    assert ask(learner, "CONFIG", "REWRITE") == b"OK"
    assert "replicaof" not in (learner.folder / "redis.conf").read_text()


ROLE_CHANGES: list[tuple[Word, ...]] = [
    ("REPLICAOF", HOST, 1), ("slaveof", HOST, 1), ("REPLICAOF", "NO", "ONE"), ("FAILOVER", "ABORT"),
    ("CLUSTER", "REPLICATE", "ab" * 20), ("CONFIG", "SET", "replicaof", "x 1"), ("CONFIG", "SET", "slaveof", "x 1"),
    ("DEBUG", "REPLICATE", "ALL", "SET", "k", "v"), ("EVAL", "return redis.call('REPLICAOF', 'x', '1')", 0),
    ("PSYNC", "ab" * 20, 1, "FAILOVER"),
]  # fmt: skip


@pytest.mark.parametrize("removed", [False, True])
def test_no_command_changes_the_role(server: StartServer, removed: bool) -> None:
    only = server(MEMBER, enable_debug_command="yes")
    view = become_chain(only)
    if removed:
        be_removed(only, view)
    for words in ROLE_CHANGES:
        assert isinstance(ask(only, *words), Error), words
        assert follows_nobody(only)
    with Talk(only) as sentinel:
        sentinel("MULTI")
        sentinel("SLAVEOF", HOST, 1)
        assert isinstance(sentinel("EXEC")[0], Error)
    assert follows_nobody(only)


def test_writes_do_not_wait_for_replicas_of_redis(server: StartServer) -> None:
    only = server(MEMBER, min_replicas_to_write="1")
    become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    for name in ["min-replicas-to-write", "min-slaves-to-write"]:
        assert ask(only, "CONFIG", "SET", name, 1) == b"OK"
        assert ask(only, "CONFIG", "GET", "min-replicas-to-write")[1] == b"0"
    assert ask(only, "MEMBER.PUT", "k", "w") == 1


def test_a_server_that_hands_over_to_a_replica_becomes_no_chain(server: StartServer) -> None:
    only, replica = server(MEMBER), server(MEMBER)
    assert ask(replica, "REPLICAOF", HOST, only.port) == b"OK"
    replica_of_only = {"role": "slave", "master_link_status": "up"}
    wait_until(lambda: replica_of_only.items() <= info(replica, "replication").items(), 20)
    wait_until(lambda: "state=online" in info(only, "replication").get("slave0", ""), 20)
    replica.pause()
    try:
        assert ask(only, "FAILOVER", "TO", HOST, replica.port) == b"OK"
        assert any(why in state(only).unfit for why in ["handing over", "replica of another"])
    finally:
        replica.resume()


@pytest.mark.parametrize("module", [MASTER, MEMBER])
def test_a_server_of_a_redis_cluster_is_refused(tmp_path: Path, module: str) -> None:
    config = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with pytest.raises(LauncherError, match="cluster-enabled no"):
        Server(tmp_path, modules=[module], config=config).start()


def test_a_master_is_no_replica(server: StartServer) -> None:
    source = server()
    master = server(MASTER, replicaof=f"{HOST} {source.port}")
    assert follows_nobody(master)
    assert isinstance(ask(master, "REPLICAOF", HOST, source.port), Error)
    assert follows_nobody(master)
