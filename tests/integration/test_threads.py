# SPDX-License-Identifier: Apache-2.0
"""The member's threads: one cannot be started, one waits when it must end, and none handles signals."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGSEGV, SIGTERM, SIGUSR2

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER, Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer, _examine
from integration.failing_threads import failing_thread
from integration.helpers import PATIENT, Error, Talk, ask, assert_serves, info, paused
from integration.test_checkpoint import FLUSH, checkpoint, flush, put

pytestmark = pytest.mark.skipif("CHAINREDIS_SERVER" in os.environ, reason="the server's own threads are known by name")


class Short(Cluster):
    """A chain whose members, from the `first` on, fail once to start thread number `fails`."""

    fails = 0
    first = 1

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        folder.mkdir(parents=True)
        prefix = failing_thread(folder, self.fails) if len(self.servers) >= self.first and module == MEMBER else ()
        return Server(folder, port=port, modules=[module], config=config, prefix=prefix)


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Short]:
    cluster = Short(1, folder=tmp_path, member_config=FLUSH)
    yield cluster
    cluster.stop()
    _examine(cluster.servers)


@pytest.mark.parametrize("number", [1, 2], ids=["writer", "reader"])
def test_a_checkpoint_without_a_thread(short: Short, number: int) -> None:
    """The failure is reported. When a thread can be started again, everything works, also READs of flushed keys."""
    short.fails = number
    short.start()
    assert "its threads cannot be started" in short.head.log()
    put(short, 3)
    assert checkpoint(short) == 3
    assert flush(short) == 3
    with Talk(short.tail, timeout_s=5) as talk:
        assert talk("READ", "key:1") == b"value:1"
        assert talk("LIST.CHECKPOINT")[0] == b"0"


@pytest.mark.parametrize("number", [1, 2], ids=["writer", "reader"])
def test_a_copy_of_a_checkpoint_that_cannot_begin(short: Short, number: int) -> None:
    short.fails, short.first = number, 2
    short.start()
    put(short, 3)
    checkpoint(short)
    flush(short)
    newcomer = short.spare(**{"member.gcs-mode": "normal"})  # else it opens its checkpoint at its start
    with pytest.raises(LauncherError, match="checkpoint cannot be copied: out of memory, descriptors or threads"):
        short.add(newcomer)
    assert info(newcomer, "member")["member_checkpoint"] != "opening"
    assert_serves(short)
    short.add(newcomer)
    assert ask(short.tail, "READ", "key:1") == b"value:1"


def test_a_learner_that_is_told_to_end_while_its_source_hangs(chain: StartChain) -> None:
    """A learner waits up to 15 s for a page of the checkpoint, but must end at once when told to."""
    cluster = chain(1, member_config=FLUSH, master_config=PATIENT)
    with Talk(cluster.head) as talk:
        assert all(isinstance(sn, int) for sn in talk.pipeline([("MEMBER.PUT", n, "v" * 300_000) for n in range(100)]))
    checkpoint(cluster)
    flush(cluster)
    learner = cluster.spare()
    with Talk(cluster.master) as master:
        endpoint = cluster.endpoint_of(learner)
        master.send("MASTER.ADD", endpoint.host, endpoint.port)
        wait_until(lambda: "joining: copied up to" in learner.log(), 20)
        with paused(cluster.tail):
            assert info(learner, "member")["member_join"] == "copying"
            learner.terminate()
            wait_until(lambda: not learner.running, 5)
        assert isinstance(master.receive(), Error)
    assert_serves(cluster)


# ---------------------------------------------------------------------------------------------------- signals

OF_THE_SERVER = ("bio_", "io_thd_", "jemalloc_bg_thd")


def background_threads(server: Server) -> int:
    """How many of Redis's background threads have their names: each gives itself one when it first runs."""
    tasks = Path(f"/proc/{server.pid}/task").iterdir()
    return sum((task / "comm").read_text().startswith("bio_") for task in tasks)


def blocked_by_own_threads(server: Server) -> list[int]:
    """The masks of blocked signals of all threads except for the main thread and Redis's own."""
    masks = []
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            lines = (thread / "status").read_text().splitlines()
            fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            if int(thread.name) != server.pid and not fields["Name"].startswith(OF_THE_SERVER):
                masks.append(int(fields["SigBlk"], 16))
    return masks


@pytest.mark.parametrize("module", [MEMBER, MASTER])
def test_no_thread_of_our_own_hears_signals(server: StartServer, module: str) -> None:
    """Otherwise a signal would not wake the event loop. Only faults are still delivered to the thread."""
    one = server(module)
    if module == MEMBER:
        ask(one, "CONFIG", "SET", "member.gcs-mode", "checkpoint")
        wait_until(lambda: info(one, "member")["member_checkpoint"] == "open", 20)
    wait_until(lambda: background_threads(one) == 3, 20)
    masks = blocked_by_own_threads(one)
    assert len(masks) >= 2
    for mask in masks:
        assert mask >> (SIGTERM - 1) & 1 and mask >> (SIGUSR2 - 1) & 1
        assert not mask >> (SIGSEGV - 1) & 1
