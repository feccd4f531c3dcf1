# SPDX-License-Identifier: Apache-2.0
"""A chain with checkpoints and flushes is compared with a dictionary, while members die, return and join.

MODEL_EXAMPLES=n runs more examples. A failure is shown as the steps that led to it. MODEL_SHRINK=1 shortens them.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.reconfiguration import Configuration
from chainredis.storage.view_store import stored_in
from chainredis.transport.waiting import wait_until
from integration.helpers import Talk, ask, await_chain, await_repair, chain_of, paused, settled

CONFIG = {"member.gcs-mode": "checkpoint-flush"}
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
# A server always uses more memory than that: all keys are flushed once checkpointed, and writers are held meanwhile.
AUTOMATIC = {"member.checkpoint-interval": "20", "member.flush-above": "1mb"}
KEYS = [b"a", b"a\0", b"b", b"c", b"d", b"big", b"bigger"]
BIG = 3_000_000  # bytes; a checkpoint of two such keys is more than one batch
MOST = 3
FORMED_AGAIN = 2  # the most cold starts in an example, because a cold start takes the longest

Updates = list[tuple[bytes, bool]]

# The updates that every rule does first: the keys, and whether each is deleted.
updates = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([False, False, True])), max_size=5)
places = st.integers(0, MOST - 1)


class ChainModel(RuleBasedStateMachine):
    """Updates block and come one after another, so that exactly the answered ones are committed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.values: dict[bytes, bytes | None] = dict.fromkeys(KEYS)
        self.numbers = itertools.count()
        self.formed = 0
        self.away: list[Server] = []  # servers that were in the chain, running or not

    @initialize(size=st.sampled_from([3, 3, 2, 1]), durable=st.booleans(), automatic=st.booleans())
    def start(self, size: int, durable: bool, automatic: bool) -> None:
        """durable: appendfsync always. automatic: members also checkpoint and flush by themselves."""
        self.durable = durable
        config = CONFIG | (ALWAYS if durable else {}) | (AUTOMATIC if automatic else {})
        self.cluster = Cluster(size, folder=self.folder, member_config=config)
        self.cluster.start()

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.stop()
            assert [line for server in self.cluster.servers for line in server.complaints()] == []

    def member(self, place: int) -> Server:
        return self.cluster.members[place % len(self.cluster.members)]

    def update(self, updates: Updates) -> None:
        for key, deletes in updates:
            value = None if deletes else b"%d" % next(self.numbers) * (BIG if key.startswith(b"big") else 1)
            command: tuple[bytes | str, ...] = ("MEMBER.DEL", key) if value is None else ("MEMBER.PUT", key, value)
            reply = ask(self.cluster.head, *command)
            assert isinstance(reply, int), reply
            self.values[key] = value

    @invariant()
    def every_key_has_its_newest_value(self) -> None:
        if not hasattr(self, "cluster"):
            return
        with Talk(self.cluster.tail) as talk:
            found = dict(zip(KEYS, talk.pipeline([("READ", key) for key in KEYS]), strict=True))
        assert {key: shortened(value) for key, value in found.items()} == {
            key: shortened(value) for key, value in self.values.items()
        }

    # ------------------------------------------------------------------------------------------------- steps

    @rule(updates=updates)
    def checkpoint(self, updates: Updates) -> None:
        self.update(updates)
        reply = ask(self.cluster.tail, "TAIL.CHECKPOINT")
        assert isinstance(reply, int) and reply >= 0, reply
        assert ask(self.cluster.tail, "TAIL.CHECKPOINT") == 0

    @rule(updates=updates, most=st.none() | st.integers(1, 3))
    def flush(self, updates: Updates, most: int | None) -> None:
        self.update(updates)
        reply = ask(self.cluster.head, "HEAD.FLUSH", *([] if most is None else [most]))
        assert isinstance(reply, int) and 0 <= reply <= (most or len(KEYS)), reply

    @precondition(lambda self: len(self.cluster.members) < MOST)
    @rule(updates=updates, former=st.booleans())
    def add(self, updates: Updates, former: bool) -> None:
        self.update(updates)
        newcomer = self.newcomer(former)
        reply = ask(self.cluster.master, "MASTER.ADD", newcomer.endpoint.host, newcomer.port)
        # After a cold start the master adds former members by itself as soon as they are back.
        assert reply == b"OK" or "is already in the chain" in reply, reply
        await_chain(self.cluster, *self.cluster.members, newcomer)

    @precondition(lambda self: 1 < len(self.cluster.members) < MOST)
    @rule(updates=updates, former=st.booleans(), place=places, after_ms=st.sampled_from([0, 5, 20, 50]))
    def kill_while_one_is_added(self, updates: Updates, former: bool, place: int, after_ms: int) -> None:
        self.update(updates)
        newcomer, victim = self.newcomer(former), self.member(place)
        with Talk(self.cluster.master) as talk:
            talk.send("MASTER.ADD", newcomer.endpoint.host, newcomer.port)
            time.sleep(after_ms / 1000)
            victim.kill()
            talk.receive()  # whether it has become a member is known below
        gone = [victim]
        if newcomer not in chain_of(self.cluster):
            gone.append(newcomer)
            newcomer.kill()  # so that the master does not add it later
        wait_until(lambda: not self.is_pending() and not set(gone) & set(chain_of(self.cluster)), 20)
        await_chain(self.cluster, *chain_of(self.cluster))
        self.away += gone

    def newcomer(self, former: bool) -> Server:
        """A new server, or one that was in the chain, which is started if it does not run."""
        if not former or not self.away:
            return self.cluster.spare()
        server = self.away.pop()
        if not server.running:
            server.start()
        return server

    @precondition(lambda self: len(self.cluster.members) > 1)
    @rule(updates=updates, place=places)
    def remove(self, updates: Updates, place: int) -> None:
        self.update(updates)
        self.away.append(self.member(place))
        self.cluster.remove(self.away[-1])

    @precondition(lambda self: len(self.cluster.members) > 1)
    @rule(updates=updates, place=places, amid=st.sampled_from(["nothing", "checkpoint", "flush"]))
    def kill(self, updates: Updates, place: int, amid: str) -> None:
        self.update(updates)
        self.away.append(self.member(place))
        with self.amid(amid):
            self.away[-1].kill()
        await_repair(self.cluster, self.away[-1])

    @precondition(lambda self: self.formed < FORMED_AGAIN)
    @rule(updates=updates)
    def shut_all_down(self, updates: Updates) -> None:
        self.update(updates)
        settled(self.cluster)
        epoch = self.configuration().view.epoch
        self.cluster.master.kill()
        for member in self.cluster.members:
            with Talk(member) as talk:
                talk.send("SHUTDOWN", "SAVE")
        for member in self.cluster.members:
            wait_until(lambda member=member: not member.running, 20)  # type: ignore[misc]
        self.cluster.master.start()
        self.form_again(after=epoch)

    @precondition(lambda self: self.durable and self.formed < FORMED_AGAIN)
    @rule(updates=updates, amid=st.sampled_from(["nothing", "checkpoint", "flush"]))
    def kill_all(self, updates: Updates, amid: str) -> None:
        self.update(updates)
        epoch = self.configuration().view.epoch
        with self.amid(amid), paused(self.cluster.master):
            for member in self.cluster.members:
                member.pause()
            for member in self.cluster.members:
                member.kill()
        self.form_again(after=epoch)

    @contextmanager
    def amid(self, what: str) -> Iterator[None]:
        """Run the body while a checkpoint or a flush, or nothing, is under way."""
        servers = {"checkpoint": self.cluster.tail, "flush": self.cluster.head, "nothing": self.cluster.head}
        with Talk(servers[what]) as talk:
            if what == "flush":
                assert isinstance(ask(self.cluster.tail, "TAIL.CHECKPOINT"), int)
                talk.send("HEAD.FLUSH")
            elif what == "checkpoint":
                talk.send("TAIL.CHECKPOINT")
            yield

    def form_again(self, *, after: int) -> None:
        """Start the members, and wait until the master has formed the chain again. after: the epoch in which all died.

        Members come back one by one, so their order may be another one.
        """
        self.formed += 1
        for member in self.cluster.members:
            member.spawn()
        for member in self.cluster.members:
            member.await_answer()

        def is_whole() -> bool:
            found = self.configuration()
            is_new = found.view.epoch > after and not found.pending
            return is_new and len(found.view.members) == len(self.cluster.members)

        wait_until(is_whole, 60)
        await_chain(self.cluster, *chain_of(self.cluster))

    def is_pending(self) -> bool:
        """Whether the view is pending: the master has not seen the new tail serve, and leaves it out of a repair."""
        return self.configuration().pending

    def configuration(self) -> Configuration:
        stored = stored_in(self.cluster.master.folder)
        assert stored
        return stored


def shortened(value: bytes | None) -> tuple[bytes, int] | None:
    """The beginning and the length of a value, for error messages."""
    return None if value is None else (value[:10], len(value))


def test_every_key_has_its_newest_value_whatever_happens_to_members(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def machine() -> ChainModel:
        return ChainModel(tmp_path_factory.mktemp("chain"))

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "8")),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if os.environ.get("MODEL_SHRINK") else [])],
            report_multiple_bugs=False,
            print_blob=True,
        ),
    )
