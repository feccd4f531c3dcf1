# SPDX-License-Identifier: Apache-2.0
"""A member of a chain of all commands that has lost its identity file, and a server that loads an RDB of no chain."""

from chainredis.local_cluster.cluster import MEMBER
from commands.run import same_data
from integration.conftest import StartChain, StartServer
from integration.helpers import Talk, ask, await_repair, member_number

DEBUG = {"enable-debug-command": "yes"}


def rdb_time(at_ms: int) -> bytes:
    """How an RDB says when a key expires."""
    return b"\xfc" + at_ms.to_bytes(8, "little")


def test_it_drops_no_keys_that_have_expired_by_its_own_clock(chain: StartChain) -> None:
    """The chain has made the key last while the member was away."""
    cluster = chain(2, commands="all", member_config=DEBUG | {"rdbchecksum": "no"})
    away = cluster.tail
    with Talk(cluster.head) as talk:
        assert talk("SET", "k", "v", "PX", 3_600_000) == b"OK"
        assert talk("SET", "other", "v") == b"OK"
        assert ask(away, "SAVE") == b"OK"
        expires_at_ms = talk("PEXPIRETIME", "k")
        away.kill()
        await_repair(cluster, away)
        assert talk("PERSIST", "k") == 1
    # As if the member had been away for an hour.
    dump, (expires, expired) = away.folder / "dump.rdb", (rdb_time(at_ms) for at_ms in (expires_at_ms, 1))
    saved = dump.read_bytes()
    assert saved.count(expires) == 1
    dump.write_bytes(saved.replace(expires, expired))
    (away.folder / f"chain.member.{away.port}").unlink()
    away.start()
    cluster.add(away)
    assert member_number(away, "joins_by_log") == 1
    assert ask(away, "GET", "k") == b"v"
    same_data(cluster.members)


def test_an_rdb_of_no_chain_is_the_server_s_own(server: StartServer) -> None:
    one = server(MEMBER, **{"member.commands": "all"})
    assert ask(one, "SET", "k", "v") == b"OK"
    assert ask(one, "SAVE") == b"OK"
    one.kill()
    one.start()
    assert ask(one, "GET", "k") == b"v"
    assert ask(one, "SET", "k", "w") == b"OK"
    assert ask(one, "ROLE")[0] == b"master"
