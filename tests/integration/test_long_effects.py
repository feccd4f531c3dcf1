# SPDX-License-Identifier: Apache-2.0
"""Effects that are longer than a message, and longer than the log's limit: they go in parts, and count as a whole."""

from dataclasses import replace
from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER
from chainredis.protocol.view import Kind, Member, View
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from integration.conftest import StartChain, StartServer
from integration.helpers import Talk, ask, await_repair, member_number, proven, running, state, unheld

DEBUG = {"enable-debug-command": "yes"}
LIMITED = DEBUG | {"member.log-limit": "1mb"}
# One effect of so many blocks: a transaction with the same number at its beginning and its end.
LONG = """
redis.call('INCR', 'first')
for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'block:' .. i, ARGV[2]) end
return redis.call('INCR', 'last')
"""
BLOCK = "x" * 1_000_000
SET = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$40\r\n" + b"v" * 40 + b"\r\n"


def test_an_effect_may_be_longer_than_the_log_s_limit(chain: StartChain) -> None:
    cluster = chain(3, commands="all", member_config=LIMITED)
    with Talk(cluster.head) as talk:
        for number in range(1, 3):
            assert talk("EVAL", LONG, 0, 30, BLOCK) == number
            assert talk("SET", "after", number) == b"OK"
        assert talk("MULTI") == b"OK"
        for i in range(10):
            assert talk("APPEND", f"block:{i}", "x" * 500_000) == b"QUEUED"
        assert len(talk("EXEC")) == 10
    same_data(cluster.members)
    assert len({state(member).applied for member in cluster.members}) == 1
    assert max(member_number(member, "log_bytes") for member in cluster.members) < 40_000_000


def test_links_are_cut_amid_a_long_effect(chain: StartChain) -> None:
    cluster = chain(3, commands="all", member_config=DEBUG)
    middle, tail = cluster.members[1:]

    def cut(stop: Event) -> int:
        cuts = 0
        while not stop.wait(0.1):
            cuts += sum(ask(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") for server in (middle, tail))
        return cuts

    with running(cut) as jobs, Talk(cluster.head) as talk:
        for number in range(1, 6):
            assert talk("EVAL", LONG, 0, 10, BLOCK) == number
    assert jobs[0].result() > 0
    same_data(cluster.members)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_member_dies_amid_a_long_effect(chain: StartChain, victim: int) -> None:
    """What the others have of the effect is all of it, or nothing."""
    cluster = chain(3, commands="all", member_config=DEBUG)
    dead = cluster.members[victim]
    assert ask(cluster.head, "EVAL", LONG, 0, 1, BLOCK) == 1

    def write(stop: Event) -> None:
        try:
            with Talk(cluster.members[0]) as talk:
                while not stop.is_set():
                    talk("EVAL", LONG, 0, 20, BLOCK)
        except redis.ConnectionError:
            pass

    with running(write) as jobs:
        wait_until(lambda: int(ask(cluster.tail, "GET", "last") or 0) > 2, 20)
        dead.kill()
        await_repair(cluster, dead)
        if victim == 0:
            assert jobs[0].exception(20) is None
    assert ask(cluster.head, "GET", "first") == ask(cluster.head, "GET", "last")
    same_data(cluster.members)


@pytest.mark.parametrize("terse", [True, False])
def test_a_part_that_does_not_go_on_where_the_last_ended_is_refused(server: StartServer, terse: bool) -> None:
    """The test is the member's predecessor, and sends one effect in parts. terse: as one of an earlier version does
    not.
    """
    member = server(MEMBER, **{"member.commands": "all"})
    itself = Member(member.endpoint.host, member.endpoint.host, member.port, state(member).run_id)
    view = View("ab" * 16, 1, (replace(itself, port=1, run_id="a" * 40), itself), "cd" * 16, Kind.ALL)
    with unheld(member) as master:
        assert master("CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
    parts = [(offset, SET[offset : offset + 30]) for offset in range(0, len(SET), 30)]
    link = proven(member, view, "a" * 40)
    try:
        talk = Talk.over(member, link)

        def forward(offset: int, part: bytes) -> None:
            numbers = [1, 1, 0, len(SET), -1, len(SET) - 1, 0, 0]
            if terse:
                talk.send("CHAIN.FORWARD", " ".join(map(str, [*numbers, len(SET) - 1, offset])), part)
            else:
                talk.send("CHAIN.FORWARD", *numbers, part, offset)

        for lost in (*range(len(parts)), None):
            assert talk("CHAIN.GREET", 1, view.history, -1, -1)[0] == b"WELCOME"
            for offset, part in [part for i, part in enumerate(parts) if i != lost]:
                forward(offset, part)
            behind = 0 if lost is None else len(parts) - 1 - lost
            assert [talk("PING"), *(talk.receive() for _ in range(behind))] == [[b"REGREET"]] * behind + [b"PONG"]
            assert lost is None or state(member).applied == -1
        wait_until(lambda: state(member).applied == len(SET) - 1, 10)
        wait_until(lambda: b"db0:keys=1" in talk("INFO", "keyspace"), 10)
    finally:
        link.close()
