# SPDX-License-Identifier: Apache-2.0
"""Redis's own commands under random load and faults: all copies are the same, and all answers are linearizable.

Each test prints its seed; `FAULT_SEED=n` repeats it, as far as the timing of processes allows.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from time import sleep

import pytest

from certificates import Certificates, Identity
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint
from chainredis.transport.tls import Tls
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from commands.wire import Wire
from fault_injection.clients import Guide
from fault_injection.conftest import examined
from fault_injection.fronted import FrontedCluster
from fault_injection.kinds import DISKS, LINKS, PROCESSES, Fault, Kill, Restart
from fault_injection.native_clients import NativeCrowd
from fault_injection.nemesis import Nemesis
from fault_injection.proxy import Network
from fault_injection.random_load import DATABASES, RandomLoad
from fault_injection.test_series import MASTER, MEMBER, SIZES, TIMEOUT_S, seed
from integration.helpers import running

__all__ = ["seed"]

DEBUG = {"enable-debug-command": "yes"}
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
QUIET_S = 4
SERIES_S = 10
TLS_SERIES_S = 4
LOADS = 4
BESIDE_OTHERS = range(3, 6)     # the databases of a load whose FLUSHDB must not touch the objects of other clients
# The keys that will not expire in the next five seconds.
LIFETIMES = """
local found, soon = {}, (redis.call('TIME')[1] + 5) * 1000
for _, key in ipairs(redis.call('KEYS', '*')) do
    local ends = redis.call('PEXPIRETIME', key)
    if ends == -1 or ends > soon then
        found[#found + 1] = key
        found[#found + 1] = ends
    end
end
return found
"""


def have_sent(loads: Sequence[RandomLoad], least: int, futures: Sequence[Future[None]]) -> bool:
    """Or one of them has failed."""
    return any(future.done() for future in futures) or all(load.sent > least for load in loads)


@pytest.mark.timeout(120)
def test_copies_are_the_same_after_random_load(tmp_path: Path, seed: int) -> None:
    chain = Cluster(3, folder=tmp_path, commands="all", member_config=DEBUG)
    with examined(chain):
        loads = [RandomLoad(lambda: chain.head.endpoint, f"{seed} {number}") for number in range(LOADS)]
        for least in (500, 1000):
            with running(*loads) as futures:
                sleep(QUIET_S / 2)
                wait_until(partial(have_sent, loads, least, futures), 60)
            same_data(chain.members)
            same_lifetimes(chain.members)
        assert chain.head.call("INFO", "stats")["expired_keys"] > 100


@pytest.mark.timeout(120)
def test_what_clients_see_of_a_plain_server_is_linearizable(tmp_path: Path, seed: int) -> None:
    """A check of the clients and of the checker, with all kinds of objects."""
    server = Server(tmp_path)
    try:
        server.start()
        crowd = NativeCrowd([server.endpoint], seed, plain=True)
        with crowd.at_work():
            wait_until(lambda: len(crowd.calls) > 3000, 60)
        crowd.judge()
        asked = {call.words[0] for call in crowd.calls}
        assert asked >= {"LOOK", "TRANSFER", "LRANGE", "LPOP", "SMEMBERS", "GETSET", "INCRBY"}
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.timeout(SERIES_S + 200)
@pytest.mark.parametrize(("menu", "config"), [
    pytest.param(PROCESSES, {}, id="processes"), pytest.param(DISKS, DURABLE, id="disks"),
])
def test_processes(tmp_path: Path, seed: int, menu: Sequence[type[Fault]], config: dict[str, str]) -> None:
    """Members and the master die, hang, are removed, and return, empty or with data."""
    size = Random(seed).choice(SIZES)
    member = {**MEMBER, **DEBUG, **config}
    run(Cluster(size, folder=tmp_path, commands="all", master_config=MASTER, member_config=member), seed, menu)


@pytest.mark.slow
@pytest.mark.timeout(SERIES_S + 200)
def test_links(tmp_path: Path, network: Network, seed: int) -> None:
    """Proxies between all servers hold and slow bytes, in one direction or both; processes die as well."""
    member = {**MEMBER, **DEBUG}
    cluster = FrontedCluster(network, 3, folder=tmp_path, commands="all", master_config=MASTER, member_config=member)
    run(cluster, seed, LINKS)


# Python's ssl leaves a socket open whose peer is killed between connection and handshake.
@pytest.mark.filterwarnings(r"ignore:.*ssl\.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(120)
def test_clients_with_tls(tmp_path: Path, certificates: Certificates, seed: int) -> None:
    """They come through the gate, and members talk to each other with TLS. Members die and return."""
    mine = certificates.identity()
    cluster = Cluster(
        3, folder=tmp_path, commands="all", tls=Tls(mine.ca, mine.cert, mine.key), master_config=MASTER,
        member_config={**MEMBER, **DEBUG},
    )  # fmt: skip
    run(cluster, seed, [Kill, Restart], TLS_SERIES_S, tls=mine)


def run(
    cluster: Cluster, seed: int, menu: Sequence[type[Fault]], for_s: float = SERIES_S, *, tls: Identity | None = None
) -> None:
    """Run one series. AssertionError if an answer is not linearizable, or copies differ at the end.

    tls: the recorded clients speak TLS, and there is no other load.
    """
    with examined(cluster):
        crowd = NativeCrowd(map(cluster.endpoint_of, cluster.members), seed, tls=tls)
        heads = Heads(map(cluster.endpoint_of, cluster.members))
        loads = [RandomLoad(heads, f"{seed} {number}", databases=BESIDE_OTHERS) for number in range(0 if tls else 2)]
        try:
            with Nemesis(cluster, Random(seed), crowd.history, menu, TIMEOUT_S) as nemesis, crowd.at_work(*loads):
                await_work(crowd)
                nemesis.torment(for_s)
                nemesis.make_whole()
                await_work(crowd)
            crowd.judge()
            assert nemesis.struck >= for_s / 4
            same_data(nemesis.members)
            same_lifetimes(nemesis.members)
        except BaseException as error:
            error.add_note(f"FAULT_SEED={seed}; what clients saw: {crowd.save()}")
            raise


class Heads:
    """Gives the endpoint of the present head, as far as members tell; None if nobody answers."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._guide = Guide(endpoints)

    def __call__(self) -> Endpoint | None:
        sight = self._guide.look()
        return sight.members[0] if sight else None


def await_work(crowd: NativeCrowd) -> None:
    """Wait, up to a time limit, until every client has done some more calls."""
    before = len(crowd.calls)
    names = {client.name for client in crowd.clients}
    wait_until(lambda: names == crowd.successful_since(before), 30)


def same_lifetimes(members: Sequence[Server]) -> None:
    """Each key that lives on ends at the same millisecond on each member: the digest does not tell."""
    seen = []
    for member in members:
        with closing(Wire(member.endpoint)) as wire:
            for database in (*DATABASES, *BESIDE_OTHERS):
                wire("SELECT", database)
                items = wire("EVAL_RO", LIFETIMES, 0)
                seen.append((member, database, dict(zip(items[::2], items[1::2], strict=True))))
    first = {database: lifetimes for member, database, lifetimes in seen if member is members[0]}
    for member, database, lifetimes in seen:
        assert lifetimes == first[database], f"{member}, database {database}"
