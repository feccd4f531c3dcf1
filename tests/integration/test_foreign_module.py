# SPDX-License-Identifier: Apache-2.0
"""Another module in a member's server: the filter knows its commands by their flags, in any spelling."""

from collections.abc import Callable

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from integration.conftest import StartServer
from integration.helpers import Error, Talk, Word, ask, be_removed, become_chain

WRITES: list[tuple[Word, ...]] = [
    ("FOREIGN.SET", "k", "v"), ("foreign.set", "k", "v"), ("Foreign.Set", "k", "v"), ("MIRROR.SET", "k", "v"),
    ("FOREIGN.BOX", "PUT", "k"), ("foreign.box", "put", "k"),
    ("FOREIGN.CALL", "FOREIGN.SET", "k", "v"), ("FOREIGN.CALL", "SET", "k", "v"), ("FOREIGN.CALL", "PFCOUNT", "k"),
    ("EVAL", "return redis.call('FOREIGN.SET', KEYS[1], 'v')", 1, "k"),
]  # fmt: skip

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
