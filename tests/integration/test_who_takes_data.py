# SPDX-License-Identifier: Apache-2.0
"""Members in a chain, and servers before they join one, take data. Masters and removed members do not."""

import pytest
import redis

from chainredis.local_cluster.cluster import MASTER, MEMBER
from integration.conftest import StartServer
from integration.helpers import Error, Talk, ask, be_removed, become_chain, member_number

WRITES = [
    "SET k v", "set k v", "DEL k", "FLUSHALL", "RPUSH l 1", "XGROUP CREATE s g $ MKSTREAM", "PFCOUNT k",
    "FUNCTION FLUSH", "MEMBER.PUT k v", "member.put k v", "MEMBER.DEL k",
]  # fmt: skip
OF_MEMBERS = ["MEMBER.WAIT 1", "MEMBER.VIEW", "MEMBER.SN", "MEMBER.ONCE id 1 SET k v", "READ k"]
MASTERS_NEED = [
    "PING", "INFO", "CONFIG GET port", "CONFIG SET maxclients 1000", "CLIENT LIST", "ACL WHOAMI", "PUBLISH c m",
    "MASTER.GET_CHAIN", "SLOWLOG GET", "GET k", "DBSIZE", "COMMAND COUNT",
]  # fmt: skip


def test_a_master_takes_no_data(server: StartServer, foreign_module: str) -> None:
    master = server(MASTER, enable_module_command="yes")
    assert ask(master, "MODULE", "LOAD", foreign_module) == b"OK"
    for text in [*WRITES, *OF_MEMBERS, "FOREIGN.SET k v", "FOREIGN.CALL SET k v"]:
        reply = ask(master, *text.split())
        assert isinstance(reply, Error) and "is a master and holds no data" in reply, text
    assert "is a master" in ask(master, "EVAL", "return redis.call('SET', 'k', 'v')", 0)
    with Talk(master) as talk:
        talk("MULTI")
        talk("SET", "k", "v")
        assert "is a master" in talk("EXEC")[0]
    for text in MASTERS_NEED:
        assert not isinstance(ask(master, *text.split()), Error), text
    assert ask(master, "DBSIZE") == 0


def test_a_master_says_that_it_has_keys(server: StartServer) -> None:
    """The keys come from a file in its folder, of a member there or from before."""
    before = server(save="100 1")
    assert ask(before, "SET", "k", "v") == b"OK"
    assert ask(before, "SAVE") == b"OK"
    master = server(MASTER, dir=str(before.folder))
    assert "has 1 keys of its own" in master.log()


def test_a_member_in_no_chain_says_that_its_writes_are_its_own(server: StartServer) -> None:
    only = server(MEMBER)
    assert "in no chain yet" not in only.log()
    assert ask(only, "GET", "k") is None
    assert member_number(only, "unreplicated_writes") == 0
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    assert ask(only, "SET", "l", "v") == b"OK"
    assert member_number(only, "unreplicated_writes") == 2
    assert only.log().count("in no chain yet") == 1
    become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "w") == 1
    assert member_number(only, "unreplicated_writes") == 2


READS = [
    "GET k", "get k", "EXISTS k", "MGET k l", "STRLEN k", "TTL k", "TYPE k", "DUMP k", "KEYS *", "SCAN 0", "RANDOMKEY",
    "DBSIZE", "OBJECT ENCODING k", "object encoding k", "MEMORY USAGE k", "LRANGE l 0 -1", "TOUCH k", "SORT_RO l",
    "BITFIELD_RO k GET u8 0",
]  # fmt: skip


def test_a_removed_member_shows_nothing_old(server: StartServer) -> None:
    only = server(MEMBER)
    view = become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    with Talk(only) as queued, Talk(only) as talk:
        assert queued("MULTI") == b"OK"
        assert queued("GET", "k") == b"QUEUED"
        be_removed(only, view)
        for text in READS:
            reply = talk(*text.split())
            assert isinstance(reply, Error) and reply.startswith("MASTERDOWN "), text
        assert "MASTERDOWN" in talk("EVAL", "return redis.call('GET', 'k')", 0)
        assert "MASTERDOWN" in talk("EVAL_RO", "return redis.call('GET', 'k')", 0)
        with pytest.raises(redis.ConnectionError):
            queued("EXEC")
        for text in ["PING", "INFO", "MEMBER.SN", "MEMBER.VIEW", "CONFIG GET port"]:
            assert not isinstance(talk(*text.split()), Error), text
        assert talk("CONFIG", "SET", "member.serve-removed-data", "yes") == b"OK"
        assert talk("GET", "k") == b"v"
        assert talk("SET", "k", "w").startswith("ERR refused")
