# SPDX-License-Identifier: Apache-2.0
"""A fleet of fake members, a store that outlives masters, and the master of the moment."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from chainredis.coordinator.commands import Coordinator
from chainredis.protocol.errors import CommandError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Endpoint
from chainredis.transport.member_client import MemberLink
from chainredis.transport.settings import PollSettings, Settings
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeFleet, RecordingStore, run_id

HOST = "10.0.0.1"
OWN = run_id(6369)
# On a busy machine nobody is to be taken for hung, but in tests of just that.
PATIENT = PollSettings()
QUICK = PollSettings(interval_ms=20, timeout_ms=400)


# A killed master's threads end as they may.
kills_masters = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Killed(BaseException):
    """The master's process ends here."""


class MortalStore:
    """Of one master's life: what it would do after its end does not happen."""

    is_certain = False

    def __init__(self, store: RecordingStore, check: Callable[[], None]) -> None:
        self._store, self._check = store, check

    def load(self) -> Configuration | None:
        return self._store.load()

    def save(self, configuration: Configuration) -> None:
        self._check()
        self._store.save(configuration)


class World:
    def __init__(self, folder: Path, polling: PollSettings) -> None:
        self.settings = Settings(
            folder, OWN, 6369, polling=lambda: polling,
            settle_timeout_s=1, stall_timeout_s=0.05, retry_interval_s=0.01, poll_interval_s=0.001,
        )  # fmt: skip
        self.fleet = FakeFleet()
        self.store = RecordingStore(self.fleet)
        self.life = 0
        self.names: dict[str, str] = {}
        self.master: Coordinator
        self.start_master()

    def start_master(self) -> None:
        def resolve(host: str) -> str:
            if host == "nowhere":
                raise OSError("Name or service not known")
            return self.names.get(host, HOST)

        def check() -> None:
            if life != self.life:
                raise Killed

        def dial(endpoint: Endpoint) -> MemberLink:
            check()
            return self.fleet.dial(endpoint, check)

        self.life += 1
        life = self.life
        store = MortalStore(self.store, check)
        self.master = Coordinator(self.settings, store=store, dial=dial, hold=self.fleet.hold, resolve=resolve)

    def kill_master(self) -> Killed:
        """Nothing that it does from here on has an effect."""
        self.life += 1
        self.master.close()
        self.fleet.open_links.clear()
        self.fleet.open_lines.clear()
        return Killed()

    def run(self, command: str, *arguments: str | int | bytes) -> str | list[str]:
        as_bytes = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
        return cast("str | list[str]", self.master.execute(f"MASTER.{command}", as_bytes))

    def remove(self, port: int) -> None:
        """Returns when it is stored, too, that the member knows it."""
        assert self.run("REMOVE", HOST, port) == "OK"
        wait_until(lambda: not self.stored().leaving, 5)

    def chain(self) -> list[str] | str:
        return self.run("GET_CHAIN")

    def ports(self) -> list[int]:
        return [int(name.rpartition(":")[2]) for name in self.chain()]

    def stored(self) -> Configuration:
        configuration = self.store.load()
        assert configuration
        return configuration

    def build(self, *ports: int) -> None:
        for port in ports:
            self.fleet.start(port)
            assert self.run("ADD", HOST, port) == "OK"
        wait_until(lambda: self.fleet.held() == set(self.ports()), 10)
        self.fleet.events.clear()

    def give_data(self, *ports: int) -> None:
        """As if there had been writes."""
        for port in ports:
            process = self.fleet.processes[port]
            process.state = replace(process.state, applied=9, committed=9, assigned=1)

    def refuses(self, says: str, command: str, *arguments: str | int | bytes) -> None:
        """The command fails for good, with this in its text, and nothing has changed."""
        before = self.store.load()
        self.fleet.events.clear()
        with pytest.raises(CommandError, match=says) as caught:
            self.run(command, *arguments)
        assert str(caught.value).startswith("ERR ")
        assert self.store.load() == before
        assert not [event for event in self.fleet.events if event.startswith(("save", "adopt"))]

    def await_chain(self, *ports: int) -> None:
        """Exactly these, and everybody who lives knows it."""
        wait_until(lambda: self.ports() == list(ports) and self.agrees(), 10)

    def await_loss(self) -> None:
        """No process of the chain lives, and no view that was decided before that is being stored any more."""
        assert self.master._runtime.wait_for(lambda controller: controller.is_lost and controller.is_open, 10)

    def agrees(self) -> bool:
        """Everybody in the newest stored view has adopted it; those it left out know that they are out."""
        configuration = self.store.load()
        if configuration is None or configuration.leaving or configuration.pending:
            return False
        inside = {member.run_id for member in configuration.view.members}
        for process in self.fleet.processes.values():
            state = process.state
            if process.condition in ("dead", "hung"):
                continue
            if state.run_id in inside and (state.epoch, state.serving) != (configuration.view.epoch, True):
                return False
            if state.run_id not in inside and state.role in ("head", "tail"):
                return False
        return True


@contextmanager
def a_world(folder: Path, polling: PollSettings = PATIENT) -> Iterator[World]:
    """Its masters' threads end with it: what one raises belongs to the test that it is of."""
    others = set(threading.enumerate())
    world = World(folder, polling)
    yield world
    world.master.close()
    wait_until(lambda: not world.fleet.open_links and not world.fleet.open_lines, 10)
    wait_until(lambda: others.issuperset(threading.enumerate()), 10)
