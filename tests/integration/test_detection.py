# SPDX-License-Identifier: Apache-2.0
"""The master's detection of the end of a process, and what a living process may do without counting as dead."""

import itertools
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.ports import HOST, free_port
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    Error,
    Talk,
    ask,
    assert_serves,
    await_chain,
    await_lifelines,
    await_repair,
    info,
    member_number,
    paused,
    savers,
    state,
)

# With these timeouts a member is taken out during a test only because the end of its process was seen.
BY_LIFELINE = {"master.heartbeat-timeout": "60000", "master.lease": "60000"}
BY_LEASE = {"master.heartbeat-timeout": "60000", "master.lease": "2000"}


def master_info(cluster: Cluster, name: str) -> str:
    return info(cluster.master, "master")[f"master_{name}"]


# ---------------------------------------------------------------------------------------- processes that live


def leave_port(tail: Server) -> None:
    with Talk(tail) as talk:
        assert talk("CONFIG", "SET", "port", free_port()) == b"OK"


def leave_address(tail: Server) -> None:
    with Talk(tail) as talk:
        assert talk("CONFIG", "SET", "bind", "127.0.0.2") == b"OK"


@pytest.mark.parametrize("is_taken", [False, True], ids=["", "taken"])
@pytest.mark.parametrize("leave", [leave_port, leave_address])
def test_a_tail_that_leaves_its_port_answers_no_stale_read(
    chain: StartChain, tmp_path: Path, leave: Callable[[Server], None], is_taken: bool
) -> None:
    """The tail lives and has a lease, whatever happens to its connections and whoever has its port."""
    cluster = chain(3, master_config={**BY_LEASE, "master.lease": "1500"})
    tail = cluster.tail
    await_lifelines(cluster)
    with Talk(tail) as reader, Talk(cluster.head) as writer, ExitStack() as stack:
        wait_until(lambda: member_number(tail, "lease_ms") > 0, 5)
        leave(tail)
        if is_taken:
            other = Server(tmp_path / "other", port=tail.port)
            stack.callback(other.stop)
            other.start()
        assert isinstance(reader("CLIENT", "KILL", "TYPE", "normal"), int)
        for value in itertools.count():
            assert isinstance(writer("MEMBER.PUT", "k", value), int)
            found = reader("READ", "k")
            assert isinstance(found, Error) or found == str(value).encode()
            if isinstance(found, Error) and value > 20:
                break
    assert len(stored_names(cluster)) == 2
    cluster.members.remove(tail)
    assert_serves(cluster)


def stored_names(cluster: Cluster) -> list[bytes]:
    names: list[bytes] = ask(cluster.master, "MASTER.GET_CHAIN")
    return names


def test_a_sole_member_that_leaves_its_port_is_not_given_up(chain: StartChain) -> None:
    """A sole member takes writes without a lease: another chain beside it would lose them."""
    cluster = chain(1, master_config=BY_LEASE)
    await_lifelines(cluster)
    home = cluster.head.port
    with Talk(cluster.head) as talk:
        talk("CONFIG", "SET", "port", free_port())
        talk("CLIENT", "KILL", "TYPE", "normal")
        wait_until(lambda: "silent" in master_info(cluster, "member_0"), 5)
        spare = cluster.spare()
        reply = ask(cluster.master, "MASTER.ADD", HOST, spare.port)
        assert isinstance(reply, Error)
        assert talk("MEMBER.PUT", "k", "v") == 0
        assert talk("CONFIG", "SET", "port", home) == b"OK"
    cluster.add(spare)
    assert_serves(cluster)


@pytest.mark.parametrize("config", [{}, {"timeout": "1"}, {"maxclients": "40"}])
def test_who_closes_its_clients_connections_stays(chain: StartChain, config: dict[str, str]) -> None:
    cluster = chain(3, master_config=BY_LIFELINE, member_config=config)
    await_lifelines(cluster)
    epoch = state(cluster.head).epoch
    for member in cluster.members:
        for _ in range(3):
            ask(member, "CLIENT", "KILL", "TYPE", "normal")
    assert_serves(cluster)
    assert state(cluster.head).epoch == epoch
    await_lifelines(cluster)
    assert master_info(cluster, "repairs") == "0"


# ---------------------------------------------------------------------------------------- processes that end


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_end_is_seen_by_the_lifeline(chain: StartChain, place: int) -> None:
    cluster = chain(3, master_config=BY_LIFELINE)
    await_lifelines(cluster)
    cluster.members[place].kill()
    await_chain(cluster, *(member for member in cluster.members if member.running), timeout_s=10)
    assert_serves(cluster)


def test_an_end_is_seen_while_a_child_saves(chain: StartChain) -> None:
    """The forked child has copies of its parent's connections."""
    cluster = chain(3, master_config=BY_LIFELINE, member_config={"rdb-key-save-delay": "100000000"})
    victim = cluster.members[1]
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    await_lifelines(cluster)
    wait_until(lambda: isinstance(ask(victim, "BGSAVE"), bytes), 20)  # the child of the tail's copy may run
    assert savers(victim)
    victim.kill()
    await_repair(cluster, victim)
    assert_serves(cluster)


def test_one_that_is_restarted_at_once_is_another(chain: StartChain) -> None:
    cluster = chain(3, master_config=BY_LIFELINE)
    await_lifelines(cluster)
    victim = cluster.members[1]
    victim.kill()
    victim.start()
    await_repair(cluster, victim)
    assert_serves(cluster)


def test_a_death_that_nobody_held_a_lifeline_for_is_found_by_its_lease(chain: StartChain) -> None:
    cluster = chain(3, master_config=BY_LEASE, member_config={"member.lifeline-port": "-1"})
    wait_until(lambda: "offers no lifeline" in cluster.master.log(), 5)
    assert master_info(cluster, "member_1").endswith("lifeline=none")
    victim = cluster.members[1]
    victim.kill()
    await_repair(cluster, victim)
    assert_serves(cluster)


def test_a_master_that_is_restarted_holds_them_again(chain: StartChain) -> None:
    cluster = chain(3, master_config=BY_LIFELINE)
    cluster.master.kill()
    cluster.master.start()
    await_lifelines(cluster)
    wait_until(lambda: [member_number(member, "lifelines") for member in cluster.members] == [1, 1, 1], 5)
    victim = cluster.tail
    victim.kill()
    await_repair(cluster, victim)


# -------------------------------------------------------------------------------------------- the port of lifelines


def test_a_port_that_is_set_is_the_one(server: StartServer) -> None:
    port = free_port()
    one = server(MEMBER, **{"member.lifeline-port": str(port)})
    assert member_number(one, "lifeline_port") == state(one).lifeline == port
    assert isinstance(ask(one, "CONFIG", "SET", "member.lifeline-port", "0"), Error)
    other = server(MEMBER, **{"member.lifeline-port": str(port)})
    assert state(other).lifeline == 0
    assert "in use" in info(other, "member")["member_lifeline_error"]


def test_it_listens_where_redis_does(server: StartServer) -> None:
    one = server(MEMBER, bind="127.0.0.1 -::1")
    port = state(one).lifeline
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)
    assert ask(one, "CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2") == b"OK"
    wait_until(lambda: connects("127.0.0.2", port) and connects("127.0.0.1", port), 5)
    assert state(one).lifeline == port


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


JUNK = [b"", b"x", b"x" * 95, b"x" * 96, b"0" * 96, b"x" * 1000, b"PING\r\n", b"\x00" * 96]


def test_who_proves_nothing_is_put_off_and_nobody_else(chain: StartChain) -> None:
    cluster = chain(2, master_config=BY_LIFELINE)
    await_lifelines(cluster)
    one = cluster.tail
    port, before = state(one).lifeline, psutil.Process(one.pid).num_fds()
    with ExitStack() as stack:
        for number in range(200):
            stranger = stack.enter_context(closing(socket.create_connection((HOST, port), 5)))
            stranger.sendall(JUNK[number % len(JUNK)])
        assert_serves(cluster)
        assert member_number(one, "lifelines") == 1
        wait_until(lambda: psutil.Process(one.pid).num_fds() <= before + 20, 5)
    await_lifelines(cluster)
    one.kill()
    await_repair(cluster, one)


def test_without_a_free_descriptor_the_loop_does_not_spin(server: StartServer) -> None:
    """New connections wait until a descriptor is free."""
    one = server(MEMBER)
    (port,) = ports_of(one)
    without_a_free_descriptor(one, port)


def test_nor_does_it_at_a_follower_that_applies_effects(chain: StartChain) -> None:
    """It has a port for its own server, too."""
    one = chain(2, commands="all").tail
    (port,) = ports_of(one) - {member_number(one, "lifeline_port")}
    without_a_free_descriptor(one, port)


def ports_of(one: Server) -> set[int]:
    """The ports of the module."""
    sockets = psutil.Process(one.pid).net_connections()
    return {each.laddr.port for each in sockets if each.status == "LISTEN"} - {one.port}


def without_a_free_descriptor(one: Server, port: int) -> None:
    process = psutil.Process(one.pid)
    with Talk(one) as talk, closing(socket.socket()) as stranger:
        assert talk("PING") == b"PONG"
        limit = process.rlimit(resource.RLIMIT_NOFILE)
        used = {int(each.name) for each in Path(f"/proc/{one.pid}/fd").iterdir()}
        process.rlimit(resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), limit[1]))
        stranger.connect((HOST, port))
        spent = sum(process.cpu_times()[:2])
        assert talk.is_silent(0.4)
        assert sum(process.cpu_times()[:2]) - spent < 0.2
        process.rlimit(resource.RLIMIT_NOFILE, limit)
        stranger.settimeout(5)
        with suppress(ConnectionResetError):    # it may be closed before it has said anything
            stranger.sendall(b"x" * 96)
            assert stranger.recv(1) == b""


# ----------------------------------------------------------------------------------------------- members that hang


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_hangs_holds_writers_up_for_no_longer_than_a_lease(chain: StartChain, place: int) -> None:
    cluster = chain(3, master_config=BY_LEASE, member_config={"member.write-timeout": "30000"})
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "v"), int)
    hung = cluster.members[place]
    with Talk(cluster.head) as writer, paused(hung):
        writer.send("MEMBER.PUT", "k", "w")
        if place:
            assert isinstance(writer.receive(), int)
        await_repair(cluster, hung)
        assert_serves(cluster)


def test_one_that_hangs_and_holds_up_nobody_is_waited_for(chain: StartChain) -> None:
    """The master waits for it until a client writes."""
    cluster = chain(3, master_config=BY_LEASE, member_config={"member.write-timeout": "30000"})
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "v"), int)
    epoch, hung = state(cluster.head).epoch, cluster.members[1]
    with paused(hung):
        wait_until(lambda: "state=silent" in master_info(cluster, "member_1"), 5)
        silent = f"{hung.endpoint},state=silent,silent_ms="
        wait_until(lambda: int(master_info(cluster, "member_1").removeprefix(silent).partition(",")[0]) > 3000, 20)
        assert state(cluster.head).epoch == epoch
        assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "w"), int)
        await_repair(cluster, hung)


@pytest.mark.parametrize("given", [f"{MEMBER} 0 1 1", MEMBER])
def test_the_shortest_timeout_that_was_given_counts(chain: StartChain, given: str) -> None:
    """The timeout is given to that member or to the master. The hanging member holds up no client."""
    own = {} if given != MEMBER else {"member.heartbeat-timeout": "1"}
    cluster = chain(3, member_module=given, member_config=own, master_config={"master.heartbeat-timeout": "60000"})
    hung = cluster.members[1]
    with paused(hung):
        await_repair(cluster, hung)
    assert_serves(cluster)


def test_a_timeout_that_was_not_given_shortens_no_other(server: StartServer) -> None:
    assert state(server(MEMBER)).timeout == 0
    assert state(server(f"{MEMBER} 0 3 15")).timeout == 15000
    one = server(MEMBER, **{"member.heartbeat-timeout": "20"})
    assert state(one).timeout == 20000
    assert ask(one, "CONFIG", "SET", "member.heartbeat-timeout", "15") == b"OK"
    assert state(one).timeout == 15000


BUSY = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 3 do end return 1"


def test_one_that_says_that_it_is_busy_is_waited_for(chain: StartChain) -> None:
    """The master waits although clients wait and the member has no lease meanwhile."""
    cluster = chain(2, master_config=BY_LEASE, member_config={"busy-reply-threshold": "100"})
    epoch = state(cluster.head).epoch
    with Talk(cluster.tail) as talk:
        talk.send("EVAL", BUSY, 0)
        assert talk.receive() == 1
    assert_serves(cluster)
    assert state(cluster.head).epoch == epoch
