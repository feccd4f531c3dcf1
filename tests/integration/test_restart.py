# SPDX-License-Identifier: Apache-2.0
"""A restarted member: its data, its claims, and what it must not pretend (design.md, "Restart")."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, ask_removed, assert_serves, info, member_number, state

REFUSED_WORDS = [("MEMBER.PUT", "k", "x"), ("MEMBER.DEL", "k"), ("READ", "k"), ("SET", "k", "x"), ("FLUSHALL",)]


def restart(server: Server) -> None:
    server.kill()
    server.start()


def marker(server: Server) -> Path:
    return server.folder / f"chain.member.{server.port}"


def saved(server: Server) -> None:
    wait_until(lambda: ask(server, "SAVE") == b"OK", 30)


def lonely(chain: StartChain, size: int = 1, **config: str) -> Cluster:
    """A chain whose master is dead, so that restarted members keep the state that they read from disk."""
    cluster = chain(size, member_config={name.replace("_", "-"): value for name, value in config.items()})
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    cluster.master.kill()
    return cluster


def assert_serves_nothing(server: Server) -> None:
    assert state(server).role == "removed"
    for words in REFUSED_WORDS:
        reply = ask(server, *words)
        assert isinstance(reply, Error) and reply.startswith("ERR "), words
    assert "MASTER.ADD" in ask(server, "READ", "k") and "MASTER.ADD" in ask(server, "MEMBER.PUT", "k", "x")


# ------------------------------------------------------------------------------------------- restarts with data


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_was_shut_down_knows_its_place(chain: StartChain, place: int) -> None:
    cluster = lonely(chain, 3)
    member = cluster.members[place]
    before = state(member)
    with pytest.raises(redis.ConnectionError):
        ask(member, "SHUTDOWN", "SAVE")
    wait_until(lambda: not member.running, 20)
    for _ in range(2):  # the second restart reads what the first has saved
        member.start()
        after = state(member)
        assert (after.history, after.applied, after.assigned) == (before.history, 0, before.assigned)
        assert (after.record_epoch, after.record_run_id, after.record_durable) == (3, before.run_id, False)
        assert after.run_id != before.run_id
        assert ask_removed(member, "GET", "k") == b"v"
        assert_serves_nothing(member)
        saved(member)
        member.kill()


def test_updates_count_for_save_points(server: StartServer) -> None:
    one = server(MEMBER, save="1 100")
    with Talk(one) as talk:
        talk.pipeline([("MEMBER.PUT", n, n) for n in range(100)])
    wait_until(lambda: info(one, "persistence")["rdb_saves"] != "0", 20)


def test_a_position_of_the_first_version_is_read(chain: StartChain) -> None:
    """The first version of the position has no record of a view."""
    member = restarted_with_an_older_position(chain, as_first_version)
    assert (state(member).applied, state(member).record_epoch) == (0, 0)
    assert ask_removed(member, "GET", "k") == b"v"
    assert_serves_nothing(member)


def test_a_position_of_the_version_before_is_read(chain: StartChain) -> None:
    """It has no kept replies."""
    member = restarted_with_an_older_position(chain, as_fourth_version)
    assert (state(member).applied, state(member).record_epoch) == (0, 1)
    assert ask_removed(member, "GET", "k") == b"v"


def restarted_with_an_older_position(chain: StartChain, older: Callable[[bytes, bytes], bytes]) -> Server:
    member = lonely(chain, 1, rdbchecksum="no", rdbcompression="no").head
    run_id = state(member).run_id.encode()
    saved(member)
    member.kill()
    dump = member.folder / "dump.rdb"
    dump.write_bytes(older(dump.read_bytes(), run_id))
    member.start()
    return member


def as_first_version(dump: bytes, run_id: bytes) -> bytes:
    """Turn an RDB into one of the first version: without the epoch, the run_id and what comes after."""
    type_end, at, end = position_in(dump, run_id)
    return with_version(dump[:type_end], 1) + dump[type_end : at - 4] + dump[end:]


def as_fourth_version(dump: bytes, run_id: bytes) -> bytes:
    """Turn an RDB into one of the version before: without the number of kept replies."""
    type_end, _, end = position_in(dump, run_id)
    assert dump[end - 2 : end] == b"\x02\x00"
    return with_version(dump[:type_end], 4) + dump[type_end : end - 2] + dump[end:]


def with_version(dump: bytes, version: int) -> bytes:
    """The last ten bits of the type's id, which ends here, are the version."""
    return dump[:-1] + bytes([dump[-1] - 5 + version])


def position_in(dump: bytes, run_id: bytes) -> tuple[int, int, int]:
    """Returns where the id of the position's type ends, where the run_id begins, and where the position ends.

    Module auxiliary data begins with F7, 81 and the type's id. Before the run_id: an opcode and the epoch, an opcode
    and the length of the run_id. After the run_id: small numbers, each with its opcode, up to the opcode 0 of the end.
    A -1 among them is 81 and eight bytes.
    """
    type_end = dump.index(b"\xf7\x81") + 10
    assert int.from_bytes(dump[type_end - 8 : type_end], "big") & 1023 == 5
    at = dump.index(run_id)
    end = at + 40
    while dump[end] == 2:
        end += 10 if dump[end + 1] == 0x81 else 2
    assert dump[at - 4 : at] == b"\x02\x01\x05\x28" and dump[end] == 0
    return type_end, at, end


# ---------------------------------------------------------------------------------------- restarts without data


@pytest.mark.parametrize("place", [0, 1])
def test_a_member_that_lost_its_data_does_not_pass_for_a_new_server(chain: StartChain, place: int) -> None:
    cluster = lonely(chain, 2)
    member, history = cluster.members[place], state(cluster.head).history
    for _ in range(2):
        restart(member)
        assert (state(member).history, state(member).applied, state(member).keys) == (history, -1, 0)
        assert_serves_nothing(member)


def test_one_without_data_is_taken_in_again(chain: StartChain) -> None:
    cluster = chain(2)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    back = cluster.tail
    restart(back)
    cluster.members.remove(back)
    cluster.add(back)
    assert ask(back, "READ", "k") == b"v"
    assert_serves(cluster)


def test_one_without_data_gets_what_was_there_before_the_first_update(chain: StartChain) -> None:
    """No log contains that data."""
    cluster = chain(0)
    first = cluster.spare()
    assert ask(first, "SET", "native", "x") == b"OK"
    cluster.add(first)
    back = cluster.grow()
    assert ask(first, "MEMBER.PUT", "k", "v") == 0
    restart(back)
    cluster.members.remove(back)
    cluster.add(back)
    assert (ask(back, "READ", "native"), ask(back, "READ", "k")) == (b"x", b"v")
    assert member_number(back, "joins_by_copy") == 1
    assert_serves(cluster)


@pytest.mark.parametrize("forgetful", [False, True])
def test_nothing_is_left_of_a_chain_and_a_new_one_begins(chain: StartChain, forgetful: bool) -> None:
    """The master may know the old chain's history, or have lost it."""
    cluster = chain(1)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    member = cluster.members.pop()
    before = state(member).history
    restart(member)
    cluster.master.kill()
    if forgetful:
        for file in cluster.master.folder.glob("chain*"):
            file.unlink()
    cluster.master.start()
    cluster.add(member)
    assert state(member).history not in {"", before}
    assert ask(member, "READ", "k") is None
    assert_serves(cluster)
    assert before not in marker(member).read_text()


def test_one_without_data_joins_another_chain(chain: StartChain) -> None:
    theirs, ours = lonely(chain, 1), chain(1)
    restart(theirs.head)
    ours.add(theirs.head)
    assert_serves(ours)


# ------------------------------------------------------------------------------------------ the identity file


def test_the_marker_is_for_people_too(chain: StartChain) -> None:
    """The identity file is readable text and contains no secret."""
    cluster = chain(1)
    text = marker(cluster.head).read_text()
    assert "MASTER.ADD" in text and "delete this file" in text
    assert text.splitlines()[-2:] == [f"history {state(cluster.head).history}", "void 0"]


def test_without_its_marker_and_data_a_server_is_a_new_one(chain: StartChain) -> None:
    member = lonely(chain).head
    member.kill()
    marker(member).unlink()
    member.start()
    assert state(member).role == "alone"
    assert ask(member, "MEMBER.PUT", "k", "mine") == 0


def test_data_of_a_chain_brings_its_marker(chain: StartChain) -> None:
    """Claims of the data do not count without the identity file: the data may be old."""
    member = lonely(chain, appendonly="yes", appendfsync="always").head
    assert state(member).record_durable
    member.kill()
    marker(member).unlink()
    member.start()
    assert not state(member).record_durable
    assert state(member).applied == 0
    assert marker(member).read_text().splitlines()[-2:] == [f"history {state(member).history}", "void 1"]


@pytest.mark.parametrize("damage", [b"", b"history 12\nvoid x\n", b"\0" * 5000, bytes(range(256)) * 40])
def test_a_damaged_marker_still_marks(chain: StartChain, damage: bytes) -> None:
    member = lonely(chain, appendonly="yes", appendfsync="always").head
    member.kill()
    marker(member).write_bytes(damage)
    member.start()
    assert (state(member).applied, state(member).record_durable) == (0, False)
    assert_serves_nothing(member)


def test_a_damaged_marker_beside_no_data(chain: StartChain) -> None:
    theirs, ours = lonely(chain), chain(1)
    member = theirs.head
    member.kill()
    marker(member).write_bytes(b"\xff")
    member.start()
    assert_serves_nothing(member)
    ours.add(member)
    assert_serves(ours)


def test_data_from_before_the_chain_is_neither_served_nor_lost(chain: StartChain, server: StartServer) -> None:
    """An RDB without a history beside an identity file: the chain has continued, or the RDB is of another origin."""
    cluster = chain(1)
    member = server(MEMBER, appendonly="no")
    ask(member, "SET", "k", "old")
    saved(member)
    cluster.add(member, "DISCARD")
    cluster.remove(member)
    for _ in range(2):
        restart(member)
        assert (state(member).applied, state(member).keys) == (-1, 1)
        assert ask_removed(member, "GET", "k") == b"old"
        assert_serves_nothing(member)
        saved(member)  # a save does not give it a history either
    with pytest.raises(LauncherError, match="DISCARD"):
        cluster.add(member)
    assert ask_removed(member, "GET", "k") == b"old"
    member.kill()
    marker(member).unlink()
    member.start()
    assert (state(member).role, ask(member, "READ", "k")) == ("alone", b"old")
    cluster.add(member, "DISCARD")
    assert_serves(cluster)


def test_data_of_another_chain_beside_the_marker(chain: StartChain) -> None:
    theirs, ours = chain(1), chain(1)
    assert ask(theirs.head, "MEMBER.PUT", "k", "theirs") == 0
    member = theirs.head
    saved(member)
    theirs.master.kill()
    restart(member)
    ours.add(member, "DISCARD")
    ours.remove(member)
    restart(member)
    assert state(member).history != state(ours.head).history
    assert ask_removed(member, "GET", "k") == b"theirs"
    assert_serves_nothing(member)
    with pytest.raises(LauncherError, match="DISCARD"):
        ours.add(member)
    ours.add(member, "DISCARD")
    assert_serves(ours)


def test_a_server_that_cannot_write_its_marker_enters_no_chain(chain: StartChain) -> None:
    cluster = chain(1)
    newcomer = cluster.spare()
    in_the_way = newcomer.folder / f"{marker(newcomer).name}.new"
    in_the_way.mkdir()
    with pytest.raises(LauncherError, match="cannot write the file"):
        cluster.add(newcomer)
    assert state(newcomer).role == "alone"
    in_the_way.rmdir()
    cluster.add(newcomer)
    assert_serves(cluster)


def test_paused_clients_keep_a_server_out_of_a_chain(chain: StartChain) -> None:
    """While clients are paused nothing can be recorded."""
    cluster = chain(0)
    first = cluster.spare(appendonly="yes")
    ask(first, "CLIENT", "PAUSE", 60_000, "WRITE")
    with pytest.raises(LauncherError, match="paused"):
        cluster.add(first)
    ask(first, "CLIENT", "UNPAUSE")
    cluster.add(first)
    assert_serves(cluster)
