# SPDX-License-Identifier: Apache-2.0
"""Chains whose members are servers of several versions: which copies and which effects go which way."""

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import ask, await_chain, await_repair, info, settled, state
from servers import MIXES_VERSIONS, OLDEST_AND_NEWEST, use

pytestmark = MIXES_VERSIONS
REDIS_7, REDIS_8, VALKEY_9 = OLDEST_AND_NEWEST
RETURNING = {"master.auto-return": "yes"}


def start(version: str, server: Server) -> Server:
    """Start the server, with the data that it has, as one of that version."""
    with pytest.MonkeyPatch.context() as patch:
        use(version, patch)
        server.start()
    return server


def spare(cluster: Cluster, version: str) -> Server:
    with pytest.MonkeyPatch.context() as patch:
        use(version, patch)
        return cluster.spare()


def grow(cluster: Cluster, version: str) -> Server:
    newcomer = spare(cluster, version)
    cluster.add(newcomer)
    return newcomer


def refuse(cluster: Cluster, newcomer: Server, says: str) -> None:
    """It is refused before its own data are discarded, with both versions; the chain goes on."""
    assert ask(newcomer, "SET", "its own", "x") == b"OK"
    with pytest.raises(LauncherError, match=says):
        cluster.add(newcomer, "DISCARD")
    assert ask(newcomer, "GET", "its own") == b"x"
    assert state(newcomer).role == "alone"
    assert_goes_on(cluster)


def test_copies_of_puts_go_where_they_can_be_loaded(chain: StartChain) -> None:
    cluster = chain(1)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    others = {version: spare(cluster, version) for version in OLDEST_AND_NEWEST}
    valkey = grow(cluster, VALKEY_9)
    refuse(cluster, others[REDIS_7], r"is Redis 7.0, which cannot load a copy of .*, Valkey 9.1: .* as it was")
    redis = grow(cluster, REDIS_8)
    refuse(cluster, others[REDIS_7], r"is Redis 7.0, which cannot load a copy of .*, Redis 8.2: ")
    refuse(cluster, others[VALKEY_9], r"is Valkey 9.1, which cannot load a copy of .*, Redis 8.2: ")
    grow(cluster, REDIS_8)
    cluster.remove(cluster.tail)
    cluster.remove(redis)
    assert cluster.tail is valkey
    grow(cluster, VALKEY_9)
    for member in cluster.members:
        assert ask(member, "GET", "k") == b"v"


def test_an_older_member_of_a_chain_of_puts_comes_back_by_log_and_not_by_copy(chain: StartChain) -> None:
    cluster = chain(1, member_config=ALWAYS)
    older = cluster.head
    grow(cluster, VALKEY_9)
    assert ask(older, "MEMBER.PUT", "k", "v") == 0
    settled(cluster)
    cluster.remove(older)
    cluster.add(older)
    assert_goes_on(cluster)
    cluster.remove(older)
    older.kill()
    for file in older.folder.rglob("appendonlydir/*"):
        file.unlink()
    older.start()
    with pytest.raises(LauncherError, match=r"Redis 7.0, which cannot load a copy of .*, Valkey 9.1"):
        cluster.add(older)
    assert_goes_on(cluster)


@pytest.mark.parametrize("newer", [REDIS_8, VALKEY_9])
def test_effects_go_to_later_versions_only(chain: StartChain, newer: str) -> None:
    """Whoever comes back, leads, or is left over: no member comes before one that would not know all its commands."""
    cluster = chain(3, commands="all", member_config=ALWAYS, master_config=RETURNING)
    head, middle, last = cluster.members
    last.kill()
    await_repair(cluster, last)
    start(newer, last)
    await_chain(cluster, head, middle, last)
    assert ask(head, "HSET", "hash", "field", "value") == 1
    other = spare(cluster, VALKEY_9 if newer == REDIS_8 else REDIS_8)
    refuse(cluster, other, r"is (Redis 8.2|Valkey 9.1), .* of which it would not know all commands")

    middle.kill()
    await_repair(cluster, middle)
    middle.start()
    await_refusal(cluster, middle)
    assert ask(middle, "CONFIG", "SET", "member.serve-removed-data", "yes") == b"OK"
    assert ask(middle, "HGET", "hash", "field") == b"value"

    head.kill()  # the newer one leads, alone
    await_chain(cluster, last)
    assert ask(last, "HSET", "hash", "second", "value") == 1
    head.start()
    await_refusal(cluster, head)
    for member in (head, middle):
        member.kill()
        cluster.add(start(newer, member))
    assert_goes_on(cluster)
    for member in cluster.members:
        assert ask(member, "HLEN", "hash") == 2


def assert_goes_on(cluster: Cluster) -> None:
    """The head takes a write, which all members then have. In a chain of either kind."""
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "goes on", "yes"), int)
    settled(cluster)
    for member in cluster.members:
        assert ask(member, "GET", "goes on") == b"yes"


def await_refusal(cluster: Cluster, returned: Server) -> None:
    """It has been refused at least once since it came back, with both versions."""

    def said() -> bool:
        text = info(cluster.master, "master")["master_waits_for"]
        return str(returned.port) in text and "is Redis 7.0" in text and "of which it would not know" in text

    wait_until(said, 30)


@pytest.mark.parametrize("first", ["older", "newer"])
def test_a_mixed_chain_of_which_all_have_ended_forms_again(chain: StartChain, first: str) -> None:
    """By the one that is back first. If that is a newer one, the older one waits for a newer version."""
    cluster = chain(1, commands="all", member_config=ALWAYS, master_config=RETURNING)
    grow(cluster, REDIS_8)
    older, newer = cluster.members
    assert ask(older, "SET", "k", "v") == b"OK"
    settled(cluster)
    for each in (cluster.master, older, newer):
        each.kill()
    cluster.master.start()
    if first == "older":
        older.start()
        await_chain(cluster, older)
        start(REDIS_8, newer)
        await_chain(cluster, older, newer)
    else:
        start(REDIS_8, newer)
        await_chain(cluster, newer)
        older.start()
        await_refusal(cluster, older)
        older.kill()
        cluster.add(start(REDIS_8, older))
    assert ask(cluster.tail, "GET", "k") == b"v"
    assert_goes_on(cluster)
