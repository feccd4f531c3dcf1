# SPDX-License-Identifier: Apache-2.0
"""A chain's whole life on each server that is supported, in both kinds of chains."""

import pytest

from certificates import Certificates
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server, server_path
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import ask, await_all, await_chain, await_repair, info, member_number, settled
from integration.test_tls_links import by
from servers import EACH, series_of, speaks_tls, use

DISK = {"appendonly": "yes", "appendfsync": "always", "enable-debug-command": "yes"}


@pytest.mark.parametrize("kind", ["all", "put"])
@pytest.mark.parametrize("series", EACH)
def test_the_life_of_a_chain(chain: StartChain, monkeypatch: pytest.MonkeyPatch, series: str, kind: str) -> None:
    use(series, monkeypatch)
    assert series_of(server_path()) == series
    cluster = chain(3, commands=kind, member_config=DISK)
    write_and_read(cluster, kind)
    for place in (0, 1, 2):
        victim = cluster.members[place]
        victim.kill()
        await_repair(cluster, victim)
        write_and_read(cluster, kind)
        victim.start()
        cluster.add(victim)
        await_chain(cluster, *cluster.members)
        assert joins(victim) == (1, 0) or (place == 0 and joins(victim) == (0, 1))  # a head that died amid its work
        write_and_read(cluster, kind)
    copy = cluster.grow()
    assert joins(copy) == (0, 1)
    write_and_read(cluster, kind)
    restart_all(cluster)
    write_and_read(cluster, kind)


@pytest.mark.parametrize("kind", ["all", "put"])
@pytest.mark.parametrize("series", EACH)
def test_a_chain_with_tls_where_the_server_has_that(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, certificates: Certificates, series: str, kind: str
) -> None:
    """Between servers: a copy, a death, a return by log."""
    use(series, monkeypatch)
    if not speaks_tls(server_path()):
        pytest.skip("the server is built without TLS")
    cluster = chain(2, commands=kind, member_config=DISK, tls=by(certificates))
    write_and_read(cluster, kind)
    victim = cluster.tail
    victim.kill()
    await_repair(cluster, victim)
    write_and_read(cluster, kind)
    victim.start()
    cluster.add(victim)
    assert joins(victim) == (1, 0)
    write_and_read(cluster, kind)


def write_and_read(cluster: Cluster, kind: str) -> None:
    """Write at the head. All that was ever written is read at every member of a chain of kind all, and at the tail."""
    write, read = {"all": ("SET", "GET"), "put": ("MEMBER.PUT", "READ")}[kind]
    begin = ask(cluster.tail, "DBSIZE")
    for number in range(begin, begin + 5):
        assert ask(cluster.head, write, f"key:{number}", number) == (b"OK" if kind == "all" else number)
    for member in cluster.members if kind == "all" else [cluster.tail]:
        assert [ask(member, read, f"key:{number}") for number in range(begin + 5)] == [
            b"%d" % number for number in range(begin + 5)
        ]
    settled(cluster)
    wait_until(lambda: len({ask(member, "DEBUG", "DIGEST") for member in cluster.members}) == 1, 10)


def joins(server: Server) -> tuple[int, int]:
    """How often it joined by the log and by a copy since it was started."""
    return member_number(server, "joins_by_log"), member_number(server, "joins_by_copy")


def restart_all(cluster: Cluster) -> None:
    """All members are killed at once and come back, in whatever order the master finds them."""
    for member in cluster.members:
        wait_until(lambda member=member: info(member, "persistence")["aof_rewrite_in_progress"] == "0", 10)  # type: ignore[misc]
        member.kill()
    for member in cluster.members:
        member.spawn()
    for member in cluster.members:
        member.await_answer()
    await_all(cluster)
