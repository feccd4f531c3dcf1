# SPDX-License-Identifier: Apache-2.0
"""Another module in a member's or a master's server: the filter knows its commands by their flags, in any spelling."""

from collections.abc import Callable

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Error, Talk, Word, ask, be_removed, become_chain, paused
from servers import SERVERS, use

WRITES: list[tuple[Word, ...]] = [
    ("FOREIGN.SET", "k", "v"), ("foreign.set", "k", "v"), ("Foreign.Set", "k", "v"), ("MIRROR.SET", "k", "v"),
    ("FOREIGN.BOX", "PUT", "k"), ("foreign.box", "put", "k"),
    ("FOREIGN.CALL", "FOREIGN.SET", "k", "v"), ("FOREIGN.CALL", "SET", "k", "v"), ("FOREIGN.CALL", "PFCOUNT", "k"),
    ("EVAL", "return redis.call('FOREIGN.SET', KEYS[1], 'v')", 1, "k"),
]  # fmt: skip

# To these a member or a master replies in the place of its server.
REPLIED_TO = ["ROLE", "INFO replication", "INFO sentinel", "CLUSTER INFO", "CLUSTER SLOTS", "READONLY"]
SCRIPT: tuple[Word, ...] = ("EVAL", "return redis.call(unpack(ARGV))", 0)
CALLERS: list[tuple[Word, ...]] = [("FOREIGN.CALL",), SCRIPT, (*SCRIPT, "FOREIGN.CALL"), ("FOREIGN.CALL", *SCRIPT)]

StartMember = Callable[[], Server]


@pytest.fixture(params=["loaded before libmember.so", "loaded later"])
def member(request: pytest.FixtureRequest, server: StartServer, foreign_module: str) -> StartMember:
    def start() -> Server:
        if request.param == "loaded later":
            started = server(MEMBER, enable_module_command="yes")
            for words in WRITES:        # what the filter remembers of these names is of no use once they are commands
                ask(started, *words)
            assert ask(started, "MODULE", "LOAD", foreign_module) == b"OK"
            return started
        return server(MEMBER, loadmodule=foreign_module)

    return start


def test_writes_of_another_module_are_refused(member: StartMember) -> None:
    only = member()
    assert ask(only, "FOREIGN.SET", "k", "before the chain") == b"OK"
    become_chain(only)
    for words in WRITES:
        reply = ask(only, *words)
        assert isinstance(reply, Error) and "refused on a chain member" in reply, words
    with Talk(only) as talk:
        assert talk("MULTI") == b"OK"
        assert talk("FOREIGN.SET", "k", "v") == b"QUEUED"
        assert "refused on a chain member" in talk("EXEC")[0]
    for words in [("FOREIGN.SHOW", "k"), ("FOREIGN.CALL", "GET", "k"), ("READ", "k")]:
        assert ask(only, *words) == b"before the chain"
    assert ask(only, "FOREIGN.BOX", "LOOK") == b"OK"


def test_a_removed_member_shows_nothing_old_through_another_module(member: StartMember) -> None:
    only = member()
    assert ask(only, "FOREIGN.SET", "k", "before the chain") == b"OK"
    be_removed(only, become_chain(only))
    for text in ["FOREIGN.SHOW k", "foreign.box LOOK", "FOREIGN.CALL GET k", "FOREIGN.CALL foreign.show k"]:
        words = text.split()
        reply = ask(only, *words)
        assert isinstance(reply, Error) and reply.startswith("MASTERDOWN "), words


def test_another_module_gets_the_events_of_updates(member: StartMember) -> None:
    only = member()
    become_chain(only)
    assert ask(only, "MEMBER.PUT", "k", "v") == 0
    assert ask(only, "FOREIGN.SETS") == 1


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("what", ["put", "all", "master"])
def test_scripts_and_modules_get_the_replies_that_clients_get(
    server: StartServer, foreign_module: str, monkeypatch: pytest.MonkeyPatch, what: str, version: str
) -> None:
    """A module's call has no user, and neither that nor a script has a connection. Redis 7.0 and Valkey 9.1 end when
    they are asked about these.
    """
    use(version, monkeypatch)
    if what == "master":
        only = server(MASTER, loadmodule=foreign_module)
    else:
        announced = {"member.commands": what, "member.cluster-announce": "yes"}
        only = server(MEMBER, loadmodule=foreign_module, **announced)
        become_chain(only, Kind(what))
    for words in [text.split() for text in REPLIED_TO]:
        reply = ask(only, *words)
        for caller in CALLERS:
            called = ask(only, *caller, *words)
            assert called == reply or (isinstance(called, Error) and isinstance(reply, Error)), (caller, words, called)
    for words in (["WAIT", "0", "0"], ["CHAIN.ALLOWED", "ping"]):
        assert ask(only, "FOREIGN.CALL", *words) == ask(only, *words)


@pytest.mark.parametrize("version", SERVERS)
def test_a_script_has_the_rights_of_its_client(
    server: StartServer, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    use(version, monkeypatch)
    only = server(MEMBER, **{"member.cluster-announce": "yes"})
    become_chain(only)
    rights = ["~*", "&*", "+@all", "-role", "-info", "-cluster", "-set"]
    assert ask(only, "ACL", "SETUSER", "limited", "on", "nopass", *rights) == b"OK"
    with Talk(only) as talk:
        assert talk("AUTH", "limited", "") == b"OK"
        for text in ["ROLE", "INFO", "CLUSTER INFO", "SET k v"]:
            for words in (text.split(), [*SCRIPT, *text.split()]):
                reply = talk(*words)
                assert isinstance(reply, Error) and "permissions" in reply, words


@pytest.mark.parametrize("version", SERVERS)
def test_a_modules_call_waits_for_the_commit_if_it_may_block(
    chain: StartChain, foreign_module: str, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    use(version, monkeypatch)
    cluster = chain(2, member_config={"loadmodule": foreign_module}, master_config=PATIENT)
    head = cluster.head
    put = ("MEMBER.PUT", "k", "v")
    assert "a chain commits each update by itself" in ask(head, "FOREIGN.CALL", *put)
    with Talk(head) as talk, paused(cluster.tail):
        talk.send("FOREIGN.CALLANDWAIT", *put)
        if version == "redis-7.0":
            assert "can't wait" in talk.receive()
            return
        assert talk.is_silent()
        cluster.tail.resume()
        assert talk.receive() == 0
    assert ask(cluster.tail, "READ", "k") == b"v"
