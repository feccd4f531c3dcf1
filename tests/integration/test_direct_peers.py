# SPDX-License-Identifier: Apache-2.0
"""Messages that the module reads from another member's connection itself (docs/decisions/0016), and nobody can tell.

With anything but an ordinary message the server reads from the connection again, and after a while the module does.
"""

import random
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import psutil
import pytest
from redis.connection import Connection

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member, View
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    Word,
    ask,
    member_number,
    paused,
    proven,
    running,
    settled,
    state,
    unheld,
)

PREDECESSOR = "a" * 40
HISTORY = "ab" * 16
DISTURBANCES = 40
SETTINGS: list[tuple[str, Word, Word]] = [
    ("member.direct-clients", 0, 1000), ("timeout", 3600, 0), ("maxmemory", "999gb", 0),
]  # fmt: skip
BUSY_LOOP = "while true do end"


def bytes_of(*words: Word) -> bytes:
    connection: Any = Connection
    return b"".join(connection().pack_command(*words))


# Values of clients that look like messages: wherever a message is cut, nothing within it is one.
FORGED = bytes_of("CHAIN.ACK", "1 5 0 0 -1") + bytes_of("CHAIN.FORWARD", "1 1 0 1 0 0 0 0 0 -1", b"x" * 14)


def taken(server: Server) -> int:
    return member_number(server, "direct_messages")


def await_direct(cluster: Cluster, *update: Word) -> None:
    """Write until every member has read a message itself."""
    before = [taken(member) for member in cluster.members]

    def write() -> bool:
        ask(cluster.head, *(update or ("MEMBER.PUT", "warm", "v")))
        return all(taken(member) > number for member, number in zip(cluster.members, before, strict=True))

    wait_until(write, 20)


@contextmanager
def as_predecessor(member: Server, view: View, applied: int = -1) -> Iterator[Talk]:
    """The test is the predecessor of the member, which is the tail. applied: what both have."""
    link = proven(member, view, PREDECESSOR)
    try:
        talk = Talk.over(member, link)
        assert talk("CHAIN.GREET", 1, HISTORY, applied, 1 if applied >= 0 else -1)[0] == b"WELCOME"
        talk.send("CHAIN.FORWARD", f"1 1 {applied + 1} 0 {applied} {applied} 0 0 {applied} -1", b"")
        yield talk
    finally:
        link.close()


def tail_of_two(member: Server, kind: Kind) -> View:
    itself = Member(member.endpoint.host, member.endpoint.host, member.port, state(member).run_id)
    view = View(HISTORY, 1, (replace(itself, port=1, run_id=PREDECESSOR), itself), "cd" * 16, kind)
    with unheld(member) as master:
        assert master("CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
    return view


def forward(sn: int, key: bytes, value: bytes) -> bytes:
    update = struct.pack("<IIi", len(key), len(value), -1) + key + value
    return bytes_of("CHAIN.FORWARD", f"1 1 {sn} 1 {sn - 1} {sn} 0 0 {sn} -1", update)


def send_in_pieces(talk: Talk, text: bytes, chance: random.Random) -> None:
    while text:
        size = chance.choice([1, 7, 100, 5_000, 60_000])
        talk.send_bytes(text[:size])
        text = text[size:]
        if chance.random() < 0.1:
            time.sleep(0.002)


def await_applied(member: Server, sn: int) -> None:
    wait_until(lambda: state(member).applied == sn, 10)


def become_direct(talk: Talk, member: Server) -> None:
    before = taken(member)

    def say_idle() -> bool:
        talk.send("CHAIN.IDLE")
        return taken(member) > before

    wait_until(say_idle, 20)


def be_steady(talk: Talk, member: Server) -> None:
    """Send so many messages that the module reads again soon after it has given the connection back."""
    before = taken(member)
    talk.send_bytes(bytes_of("CHAIN.IDLE") * 300)
    wait_until(lambda: taken(member) >= before + 300, 10)


@pytest.mark.parametrize("seed", range(4))
def test_any_messages_cut_anywhere(server: StartServer, seed: int) -> None:
    """Each is carried out once, in the order in which they were sent, whoever reads it."""
    chance = random.Random(seed)
    member = server(MEMBER)
    view = tail_of_two(member, Kind.PUT)
    values: dict[bytes, bytes] = {}
    sn = -1
    with as_predecessor(member, view) as talk:
        for _ in range(4):
            become_direct(talk, member)
            sn += 1
            values[b"k"] = FORGED
            talk.send_bytes(forward(sn, b"k", FORGED))
            await_applied(member, sn)
            text = b""
            answers: list[object] = []
            for _ in range(200):
                [what] = chance.choices(["forward", "idle", "ping", "greet"], [80, 10, 1, 1])
                if what == "forward":
                    sn += 1
                    key = b"k%d" % chance.randrange(5)
                    values[key] = FORGED * chance.choice([0, 1, 9]) + chance.randbytes(chance.choice([0, 64, 900]))
                    if chance.random() < 0.02:
                        values[key] *= 40
                    text += forward(sn, key, values[key])
                elif what == "idle":
                    text += bytes_of("CHAIN.IDLE")
                elif what == "ping":
                    text += bytes_of("PING")
                    answers.append(b"PONG")
                else:
                    text += bytes_of("CHAIN.GREET", 1, HISTORY, sn, 1)
                    answers.append([b"WELCOME", 1, HISTORY.encode(), sn, 1, 1])
            send_in_pieces(talk, text, chance)
            assert [talk.receive() for _ in answers] == answers
            assert talk("PING") == b"PONG"
            assert (state(member).applied, state(member).committed) == (sn, sn)
            assert {key: ask(member, "GET", key) for key in values} == values


@pytest.mark.parametrize("kind", ["put", "all"])
def test_messages_of_a_chain_are_read_by_the_module(chain: StartChain, kind: str) -> None:
    """Soon nearly all of them: a new view, for instance, lets the servers read again for a tick."""
    cluster = chain(3, commands=kind)
    update = ["MEMBER.PUT", "k"] if kind == "put" else ["SET", "k"]
    with Talk(cluster.head) as talk:

        def write() -> bool:
            before = [taken(member) for member in cluster.members]
            for number in range(100):
                talk(*update, str(number))
            return all(taken(member) >= number + 90 for member, number in zip(cluster.members, before, strict=True))

        wait_until(write, 20)
    settled(cluster)
    same_data(cluster.members)


def test_a_pause_of_the_server_is_one_for_other_members(chain: StartChain) -> None:
    cluster = chain(3)
    await_direct(cluster)
    with Talk(cluster.head) as talk, Talk(cluster.members[1]) as admin:
        began = time.monotonic()
        assert admin("CLIENT", "PAUSE", 600, "ALL") == b"OK"
        assert isinstance(talk("MEMBER.PUT", "k", "v"), int)
        assert time.monotonic() - began > 0.59


def test_a_right_that_is_taken_away_counts_at_once(chain: StartChain) -> None:
    cluster = chain(2)
    await_direct(cluster)
    with Talk(cluster.head) as talk, Talk(cluster.tail) as admin:
        assert admin("ACL", "SETUSER", "default", "-chain.forward") == b"OK"
        talk.send("MEMBER.PUT", "k", "v")
        assert talk.is_silent(0.5)
        assert admin("ACL", "SETUSER", "default", "+chain.forward") == b"OK"
        assert isinstance(talk.receive(), int)
        await_direct(cluster)


def test_a_right_that_is_taken_away_after_a_pause_counts_at_once(server: StartServer) -> None:
    """From Redis 7.2 on a module hears of a command that is postponed when it comes, and not when it runs."""
    member = server(MEMBER)
    view = tail_of_two(member, Kind.PUT)
    with as_predecessor(member, view) as talk, Talk(member) as admin, Talk(member) as operator:
        for number in range(8):
            become_direct(talk, member)
            be_steady(talk, member)
            assert admin("CLIENT", "PAUSE", 250 + 13 * number, "ALL") == b"OK"
            assert operator("ACL", "SETUSER", "default", "-chain.forward") == b"OK"
            time.sleep(0.25)
            talk.send_bytes(forward(0, b"k", b"v"))
            assert isinstance(talk.receive(), Error)
            assert operator("ACL", "SETUSER", "default", "+chain.forward") == b"OK"
    assert state(member).applied == -1


def test_a_script_is_not_interrupted(chain: StartChain) -> None:
    """Redis handles events amid a slow script. What comes then is applied afterwards."""
    cluster = chain(2, member_config={"busy-reply-threshold": "50"})
    await_direct(cluster)
    with Talk(cluster.tail, 60) as script, Talk(cluster.head) as writer, Talk(cluster.tail, 60) as operator:
        script.send("EVAL_RO", "while not redis.call('GET', 'k') do end return 'interrupted'", 0)
        wait_until(lambda: str(operator("GET", "k")).startswith("BUSY"), 20)
        writer.send("MEMBER.PUT", "k", "v")
        assert writer.is_silent()
        assert operator("SCRIPT", "KILL") == b"OK"
        assert isinstance(script.receive(), Error)
        assert isinstance(writer.receive(), int)
    settled(cluster)


def test_a_busy_middle_stops_no_writes(chain: StartChain) -> None:
    """The server gets its peers back amid a script, and its handlers pass on what may be passed on then."""
    cluster = chain(3, commands="all", member_config={"busy-reply-threshold": "50"})
    await_direct(cluster, "SET", "k", "v")
    middle = cluster.members[1]
    with Talk(middle, 60) as endless, Talk(cluster.head) as writer, Talk(middle, 60) as operator:
        assert operator("MEMBER.UNHELD") == b"OK"
        endless.send("EVAL", BUSY_LOOP, 0)
        for number in range(20):
            assert writer("SET", "k", number) == b"OK"
        wait_until(lambda: str(operator("GET", "k")).startswith("BUSY"), 20)
        assert writer("SET", "k", "during") == b"OK"
        assert operator("SCRIPT", "KILL") == b"OK"
        assert isinstance(endless.receive(), Error)
    settled(cluster)
    same_data(cluster.members)


class Disturbance:
    """What makes servers and the module read from connections by turns."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self.done = 0

    def __call__(self, stop: Event) -> None:
        ways = (self._set, self._kill_a_link, self._change_users, self._pause, self._stop)
        while not stop.is_set():
            with unheld(self._chance.choice(self._cluster.members), 60) as operator:
                self._chance.choice(ways)(operator)
            self.done += 1
            time.sleep(self._chance.choice([0.01, 0.1, 0.4]))

    def _set(self, operator: Talk) -> None:
        name, value, usual = self._chance.choice(SETTINGS)
        assert operator("CONFIG", "SET", name, value) == operator("CONFIG", "SET", name, usual) == b"OK"

    def _kill_a_link(self, operator: Talk) -> None:
        lines = operator("CLIENT", "LIST").split(b"\n")
        links = [line for line in lines if b" cmd=chain.ack" in line or b" cmd=chain.forward" in line]
        if links:
            operator("CLIENT", "KILL", "ID", self._chance.choice(links).split()[0].removeprefix(b"id="))

    def _change_users(self, operator: Talk) -> None:
        assert operator("ACL", "SETUSER", "somebody", "on") == b"OK"

    def _pause(self, operator: Talk) -> None:
        operator("CLIENT", "PAUSE", self._chance.choice([5, 150]), "WRITE")  # in a chain of `all` only the head does

    def _stop(self, operator: Talk) -> None:
        server = operator.server
        assert isinstance(server, Server)
        with paused(server):
            time.sleep(0.02)


@pytest.mark.parametrize("kind", ["put", "all"])
def test_readers_that_change_all_the_time(chain: StartChain, kind: str) -> None:
    """What was answered is at every member, in its order, whoever has read it."""
    cluster = chain(3, commands=kind, master_config=PATIENT)
    chance = random.Random(kind)
    disturbance = Disturbance(cluster, chance)
    update = "MEMBER.PUT" if kind == "put" else "SET"
    values: dict[str, bytes] = {}
    with running(disturbance) as [job], Talk(cluster.head, 60) as talk:
        while disturbance.done < DISTURBANCES and not job.done():
            batch = []
            for _ in range(chance.choice([1, 1, 1, 40])):
                key, value = f"k{chance.randrange(50)}", FORGED * chance.choice([0, 1, 9]) + chance.randbytes(8)
                batch.append((update, key, value))
                values[key] = value
            assert not [reply for reply in talk.pipeline(batch) if isinstance(reply, Error)]
    settled(cluster)
    same_data(cluster.members)
    assert {key: ask(cluster.tail, "GET", key) for key in values} == values


def test_a_connection_that_ends_is_forgotten(server: StartServer) -> None:
    """Whoever ends it: a peer that is lost makes a new one, and its messages are read there. No descriptor stays."""
    member = server(MEMBER)
    view = tail_of_two(member, Kind.PUT)
    descriptors = psutil.Process(member.pid).num_fds()
    for sn in range(8):
        with as_predecessor(member, view, sn - 1) as talk:
            number = talk("CLIENT", "ID")
            become_direct(talk, member)
            talk.send_bytes(forward(sn, b"k", b"v%d" % sn))
            await_applied(member, sn)
            if sn % 2:
                assert ask(member, "CLIENT", "KILL", "ID", number) == 1
                talk.send_bytes(forward(sn + 1, b"k", b"never"))
    assert ask(member, "GET", "k") == b"v7"
    wait_until(lambda: psutil.Process(member.pid).num_fds() <= descriptors, 10)
