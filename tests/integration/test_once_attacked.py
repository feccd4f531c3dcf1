# SPDX-License-Identifier: Apache-2.0
"""MEMBER.ONCE in the hands of clients that mean harm, or are merely unlucky."""

from __future__ import annotations

import time

import pytest

from commands.wire import Word
from integration.conftest import StartChain
from integration.test_once import code, connected, start
from servers import SERVERS, use

SLOW = "redis.call('INCR', KEYS[1]); for i = 1, 3e7 do end; return redis.call('INCR', KEYS[1])"    # 0.2 s or longer


@pytest.fixture(params=SERVERS)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(request.param, monkeypatch)
    return str(request.param)


def test_a_slow_script_outlives_its_client(version: str, chain: StartChain) -> None:
    """Redis handles events amid a slow script: the end of its client's connection, and that client's next command."""
    cluster = start(chain, 1, **{"busy-reply-threshold": "10"})
    slow: list[Word] = ["EVAL", SLOW, 1, "n"]
    with connected(cluster) as wire:
        wire.send("MEMBER.ONCE", "a", 1, *slow)
        time.sleep(0.1)
        wire.send_all([["GET", "n"], ["MEMBER.ONCE", "a", 1, *slow]])
        assert [wire.receive() for _ in range(3)] == [2, b"2", 2]
    with connected(cluster) as leaving:
        leaving.send("MEMBER.ONCE", "a", 2, *slow)
        time.sleep(0.1)
    with connected(cluster) as wire:
        assert wire("MEMBER.ONCE", "a", 2, *slow) == 4
        assert wire("CONFIG", "GET", "busy-reply-threshold") == [b"busy-reply-threshold", b"10"]


def test_nested_many_times(version: str, chain: StartChain) -> None:
    """Neither the keys, which a user's rights depend on, nor the execution goes deeper."""
    cluster = start(chain, 1)
    with connected(cluster) as wire, connected(cluster) as admin:
        admin("ACL", "SETUSER", "u", "on", "nopass", "~mine:*", "+member.once")
        assert wire("AUTH", "u", "x").value == b"OK"
        level: list[Word] = ["MEMBER.ONCE", "a", 1]
        nested: list[Word] = [*level * 30_000, "INCR", "n"]
        assert wire(*nested).type == "-"
        admin("COMMAND", "GETKEYS", *nested)       # an empty list, or an error
        assert admin("PING").value == b"PONG"


def test_the_reply_is_given_to_whoever_may_run_the_command(version: str, chain: StartChain) -> None:
    cluster = start(chain, 1)
    with connected(cluster) as admin, connected(cluster) as wire:
        assert admin("SET", "k", "secret").value == b"OK"
        assert admin("MEMBER.ONCE", "a", 1, "GETDEL", "k") == b"secret"
        for rights in (["~*"], ["~other", "+getdel"]):
            admin("ACL", "SETUSER", "u", "reset", "on", "nopass", "+member.once", *rights)
            assert wire("AUTH", "u", "x").value == b"OK"
            assert code(wire("MEMBER.ONCE", "a", 1, "GETDEL", "k")) == "NOPERM"
        admin("ACL", "SETUSER", "u", "~k")
        with connected(cluster) as again:
            assert again("AUTH", "u", "x").value == b"OK"
            assert again("MEMBER.ONCE", "a", 1, "GETDEL", "k") == b"secret"


def test_a_module_calls_it_again(chain: StartChain, foreign_module: str) -> None:
    """Another module may call any command. Under MEMBER.ONCE it may not call MEMBER.ONCE."""
    cluster = start(chain, 1, **{"enable-module-command": "yes"})
    with connected(cluster) as wire:
        assert wire("MODULE", "LOAD", foreign_module).value == b"OK"
        again: list[Word] = ["FOREIGN.CALL", "MEMBER.ONCE", "a", 7, "INCR", "n"]
        assert code(wire("MEMBER.ONCE", "a", 1, *again)) == "ERR"
        assert wire("GET", "n") is None
        assert code(wire(*again)) == "ERR"     # nor elsewhere: Redis does not know the user then


def test_the_same_words_in_another_database(chain: StartChain) -> None:
    cluster = start(chain, 1)
    with connected(cluster) as wire:
        assert wire("MEMBER.ONCE", "a", 1, "INCR", "n") == 1
        assert wire("SELECT", 7).value == b"OK"
        assert code(wire("MEMBER.ONCE", "a", 1, "INCR", "n")) == "ONCEOTHER"
