# SPDX-License-Identifier: Apache-2.0
"""The reply of each client command in each role, and the kind of each error (design.md, section 4 and rule 6)."""

from collections.abc import Iterator
from dataclasses import replace
from time import monotonic

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    Word,
    ask,
    ask_removed,
    assert_serves,
    be_removed,
    become_chain,
    paused,
    proven,
    state,
    stored_view,
)

WRITES: list[tuple[Word, ...]] = [
    ("MEMBER.PUT", "key", "value"), ("MEMBER.PUT", "key", "value", "me"),
    ("MEMBER.DEL", "key"), ("MEMBER.DEL", "key", "me"), ("MEMBER.WAIT", 0), ("MEMBER.WAIT", 0, 10, 1),
]  # fmt: skip

WRONG_ARITY: list[tuple[str, ...]] = [
    ("MEMBER.PUT",), ("MEMBER.PUT", "k"), ("MEMBER.PUT", "k", "v", "c", "x"), ("MEMBER.DEL",),
    ("MEMBER.DEL", "k", "c", "x"), ("MEMBER.WAIT",), ("MEMBER.WAIT", "0", "0", "0", "0"), ("READ",), ("READ", "k", "x"),
    ("MEMBER.SN", "x"), ("MEMBER.VIEW", "0", "0", "x"),
]  # fmt: skip

BAD_NUMBERS = [
    ("MEMBER.WAIT", "x"), ("MEMBER.WAIT", "-1"), ("MEMBER.WAIT", ""), ("MEMBER.WAIT", "1.5"), ("MEMBER.WAIT", "1" * 30),
    ("MEMBER.WAIT", "0", "x"), ("MEMBER.WAIT", "0", "-1"), ("MEMBER.WAIT", "0", "9" * 18),
    ("MEMBER.VIEW", "x"), ("MEMBER.VIEW", "-1"), ("MEMBER.VIEW", "0", "x"), ("MEMBER.VIEW", "0", "-1"),
    ("MEMBER.WAIT", "0", "1", "x"), ("MEMBER.WAIT", "0", "1", "-1"), ("MEMBER.WAIT", "9223372036854775808"),
]  # fmt: skip


def moved(server: Server) -> Error:
    return Error(f"MOVED 0 {server.endpoint}")


def definite(reply: object) -> bool:
    return isinstance(reply, Error) and reply.startswith("ERR ")


# ------------------------------------------------------------------------------------------- serving roles


def put_read_delete(head: Server, tail: Server, others: list[Server]) -> None:
    assert ask(tail, "READ", "key") is None
    assert ask(head, "MEMBER.PUT", "key", "one") == 0
    assert ask(tail, "READ", "key") == b"one"
    assert ask(head, "MEMBER.PUT", "key", "two", "my-channel") == 1
    assert ask(head, "MEMBER.WAIT", 1) == 1
    assert ask(tail, "READ", "key") == b"two"
    assert ask(head, "MEMBER.DEL", "key") == 2
    assert ask(tail, "READ", "key") is None
    assert ask(head, "MEMBER.DEL", "was-never-there", "my-channel") == 3
    assert ask(head, "MEMBER.WAIT", 3, 1000, 99) == 3
    assert [ask(each, "MEMBER.SN") for each in [head, *others, tail]] == [3] * (2 + len(others))
    assert [ask(each, "GET", "key") for each in [head, *others, tail]] == [None] * (2 + len(others))


def test_a_server_without_a_history_serves_as_a_singleton(server: StartServer) -> None:
    alone = server(MEMBER)
    assert state(alone).role == "alone"
    assert ask(alone, "MEMBER.SN") == -1
    assert ask(alone, "MEMBER.VIEW") == [0]
    put_read_delete(alone, alone, [])


def test_a_singleton_serves(chain: StartChain) -> None:
    cluster = chain(1)
    assert state(cluster.head).role == "singleton"
    put_read_delete(cluster.head, cluster.head, [])
    assert ask(cluster.head, "MEMBER.VIEW") == [1, str(cluster.head.endpoint).encode()]


def test_head_and_tail_of_two_serve(chain: StartChain) -> None:
    cluster = chain(2)
    put_read_delete(cluster.head, cluster.tail, [])


def test_head_and_tail_of_four_serve(chain: StartChain) -> None:
    cluster = chain(4)
    assert [state(each).role for each in cluster.members] == ["head", "middle", "middle", "tail"]
    put_read_delete(cluster.head, cluster.tail, cluster.members[1:-1])
    view = [4, *(str(each.endpoint).encode() for each in cluster.members)]
    assert [ask(each, "MEMBER.VIEW") for each in cluster.members] == [view] * 4


@pytest.mark.parametrize("commands", ["put", "all"])
def test_a_client_that_waits_for_the_next_view_is_told_of_it(chain: StartChain, commands: str) -> None:
    cluster = chain(3, commands=commands)
    before = ask(cluster.head, "MEMBER.VIEW")
    with Talk(cluster.head) as first, Talk(cluster.tail) as second, Talk(cluster.head) as leaver:
        assert first("MEMBER.VIEW", before[0], 20) == before    # there is no newer one in this time
        for talk in (first, second, leaver):
            talk.send("MEMBER.VIEW", before[0])
        assert first.is_silent()
        leaver.close()
        cluster.remove(cluster.members[1])
        after = [before[0] + 1, *(str(each.endpoint).encode() for each in cluster.members)]
        assert [first.receive(), second.receive()] == [after] * 2
    assert ask(cluster.head, "MEMBER.VIEW", before[0], 0) == after
    with Talk(cluster.head) as talk:
        assert [talk("MULTI"), talk("MEMBER.VIEW", after[0]), talk("EXEC")] == [b"OK", b"QUEUED", [after]]


def test_a_client_that_waits_for_the_next_view_is_told_of_another_chain(server: StartServer) -> None:
    """Its epochs begin anew, so none may ever be newer than the one that the client knows."""
    only = server(MEMBER)
    view = become_chain(only)
    be_removed(only, view)
    with Talk(only) as client:
        client.send("MEMBER.VIEW", view.epoch + 1)
        assert client.is_silent()
        link = proven(only, view)
        other = replace(view, history="ef" * 16)
        assert Talk.over(only, link)("CHAIN.ADOPT", *other.wire())[0] == b"ADOPTED"
        link.close()
        assert client.receive() == [view.epoch, str(only.endpoint).encode()]


def test_the_wrong_member_names_the_right_one(chain: StartChain) -> None:
    cluster = chain(3)
    head, middle, tail = cluster.members
    for write in WRITES:
        assert [ask(each, *write) for each in (middle, tail)] == [moved(head)] * 2, write
    assert [ask(each, "READ", "key") for each in (head, middle)] == [moved(tail)] * 2
    assert ask(tail, "READ", "key") is None
    assert ask(head, "MEMBER.SN") == -1


def test_native_reads_are_answered_by_any(chain: StartChain) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "key", "value") == 0
    for member in cluster.members:
        assert ask(member, "GET", "key") == b"value"
        assert ask(member, "STRLEN", "key") == 5
        assert ask(member, "EXISTS", "key") == 1
        assert ask(member, "DBSIZE") == 1


@pytest.mark.parametrize("words", [*WRONG_ARITY, *BAD_NUMBERS], ids=" ".join)
def test_bad_arguments_are_a_definite_failure(words: tuple[str, ...], alone: Server) -> None:
    assert definite(ask(alone, *words))
    assert ask(alone, "MEMBER.SN") == -1


def test_bad_arguments_in_a_chain(chain: StartChain) -> None:
    cluster = chain(3)
    for member in cluster.members:
        for words in [*WRONG_ARITY, *BAD_NUMBERS]:
            assert definite(ask(member, *words)), words
    assert_serves(cluster)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("alone"), modules=[MEMBER], config={"member.commands": "put"})
    one.start()
    yield one
    one.stop()
    assert one.complaints() == []


# --------------------------------------------------------------------------------------- outside the chain


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_removed_member_refuses_writes_and_reads(chain: StartChain, place: int) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "key", "value") == 0
    removed = cluster.members[place]
    cluster.remove(removed)
    assert state(removed).role == "removed"
    for words in [*WRITES, ("READ", "key")]:
        # A new write is refused definitely. The outcome of a write from before is unknown here.
        kind = "UNKNOWN " if words[0] == "MEMBER.WAIT" else "ERR "
        assert str(ask(removed, *words)).startswith(kind), words
    assert definite(ask(removed, "SET", "key", "other"))
    assert ask(removed, "GET", "key").startswith("MASTERDOWN ")
    assert ask_removed(removed, "GET", "key") == b"value"
    assert ask(removed, "MEMBER.SN") == 0
    assert ask(removed, "MEMBER.VIEW") == [4, *(str(each.endpoint).encode() for each in cluster.members)]
    assert_serves(cluster)


def test_a_learner_refuses_writes_and_reads(chain: StartChain, server: StartServer) -> None:
    """The server stays a learner, because the tail is not told to feed it."""
    cluster = chain(1)
    assert ask(cluster.head, "MEMBER.PUT", "key", "value") == 0
    learner = server(MEMBER)
    view = stored_view(cluster)
    assert ask(learner, "CHAIN.JOIN", *view.wire()) == b"OK"
    wait_until(lambda: state(learner).join == "copied", 30)
    assert state(learner).role == "learner"
    for words in [*WRITES, ("READ", "key")]:
        assert ask(learner, *words) == moved(cluster.head), words
    for words in [("SET", "key", "other"), ("DEL", "key")]:
        assert definite(ask(learner, *words)), words
    assert ask(learner, "GET", "key").startswith("MASTERDOWN ")
    assert ask_removed(learner, "GET", "key") == b"value"
    assert_serves(cluster)


def test_writers_at_a_server_that_becomes_a_learner_are_told(chain: StartChain) -> None:
    """Blocked writers of a server without a history get a reply when MASTER.ADD … DISCARD takes that server."""
    cluster = chain(1)
    newcomer = cluster.spare()
    assert ask(newcomer, "MEMBER.PUT", "mine", "gone soon") == 0
    with Talk(newcomer) as waiter:
        waiter.send("MEMBER.WAIT", 100)
        assert waiter.is_silent()
        cluster.add(newcomer, "DISCARD")
        assert waiter.receive() == moved(cluster.head)
    assert ask(newcomer, "READ", "mine") is None
    assert_serves(cluster)


# ---------------------------------------------------------------------------------------------- slow commits


def test_a_blocking_write_waits_for_the_tail(chain: StartChain) -> None:
    cluster = chain(3, master_config=PATIENT)
    head, middle, tail = cluster.members
    for member in (tail, middle):
        with Talk(head) as writer, Talk(head) as deleter:
            with paused(member):
                writer.send("MEMBER.PUT", "key", "value")
                deleter.send("MEMBER.DEL", "other")
                assert writer.is_silent()
                assert deleter.is_silent()
            assert {writer.receive(), deleter.receive()} == {state(head).applied - 1, state(head).applied}
    assert_serves(cluster)


def test_the_other_form_answers_at_once(chain: StartChain) -> None:
    cluster = chain(3, master_config=PATIENT)
    with paused(cluster.tail):
        assert [ask(cluster.head, "MEMBER.PUT", "key", "value", "me") for _ in range(3)] == [0, 1, 2]
        assert ask(cluster.head, "MEMBER.DEL", "key", "me") == 3
    assert ask(cluster.head, "MEMBER.WAIT", 3) == 3


def test_wait(chain: StartChain) -> None:
    cluster = chain(3, master_config=PATIENT)
    head, tail = cluster.head, cluster.tail
    assert ask(head, "MEMBER.PUT", "key", 0) == 0
    with paused(tail), Talk(head) as forever, Talk(head) as later:
        assert ask(head, "MEMBER.PUT", "key", 1, "me") == 1
        assert ask(head, "MEMBER.WAIT", 0) == 0
        began = monotonic()
        assert ask(head, "MEMBER.WAIT", 1, 300) == Error("ERR timeout: not committed yet")
        assert monotonic() - began > 0.25
        forever.send("MEMBER.WAIT", 1)
        later.send("MEMBER.WAIT", 2, 0)
        assert forever.is_silent()
        assert later.is_silent()
        tail.resume()
        assert forever.receive() == 1
        assert later.is_silent()
        assert ask(head, "MEMBER.PUT", "key", 2) == 2
        assert later.receive() == 2


def test_a_blocked_write_is_unknown_at_its_timeout(chain: StartChain) -> None:
    cluster = chain(2, member_config={"member.write-timeout": "300"}, master_config=PATIENT)
    with paused(cluster.tail):
        began = monotonic()
        reply = ask(cluster.head, "MEMBER.PUT", "key", "value")
        assert reply.startswith("UNKNOWN ")
        assert monotonic() - began > 0.25
    assert ask(cluster.head, "MEMBER.WAIT", 0, 10_000) == 0
    assert ask(cluster.tail, "READ", "key") == b"value"
    assert_serves(cluster)


def test_clients_that_leave_while_they_are_blocked_harm_nobody(chain: StartChain) -> None:
    cluster = chain(2, member_config={"member.write-timeout": "500"}, master_config=PATIENT)
    with paused(cluster.tail):
        for words in [("MEMBER.PUT", "key", "value"), ("MEMBER.DEL", "key"), ("MEMBER.WAIT", 99), ("MEMBER.WAIT", 1)]:
            with Talk(cluster.head) as leaving:
                leaving.send(*words)
                assert leaving.is_silent(0.05)
        with Talk(cluster.head) as killed:
            identity = killed("CLIENT", "ID")
            killed.send("MEMBER.PUT", "key", "value")
            assert killed.is_silent(0.05)
            assert ask(cluster.head, "CLIENT", "KILL", "ID", identity) == 1
    assert_serves(cluster)


def test_unblocking_a_writer_by_hand_leaves_its_outcome_unknown(chain: StartChain) -> None:
    """Whatever CLIENT UNBLOCK does, the writer must not get a definite failure."""
    cluster = chain(2, master_config=PATIENT)
    with paused(cluster.tail), Talk(cluster.head) as writer:
        identity = writer("CLIENT", "ID")
        writer.send("MEMBER.PUT", "key", "value")
        assert writer.is_silent()
        ask(cluster.head, "CLIENT", "UNBLOCK", identity)
        ask(cluster.head, "CLIENT", "UNBLOCK", identity, "ERROR")
        cluster.tail.resume()
        reply = writer.receive()
        assert reply == 0 or reply.startswith(("UNKNOWN ", "UNBLOCKED "))
    assert_serves(cluster)


def test_a_wait_with_an_epoch_tells_a_reassigned_sn(chain: StartChain) -> None:
    """The head is removed with an update that it never forwarded, whose sn is assigned again in the next epoch."""
    cluster = chain(2)
    first, second = cluster.members
    assert ask(first, "MEMBER.PUT", "key", "both") == 0
    epoch = ask(first, "MEMBER.VIEW")[0]
    cluster.remove(first)
    assert ask(second, "MEMBER.PUT", "key", "the new head's") == 1
    assert ask(second, "MEMBER.WAIT", 0, 0, epoch) == 1
    assert ask(second, "MEMBER.WAIT", 1, 0, epoch).startswith("UNKNOWN ")
    assert ask(second, "MEMBER.WAIT", 1, 0, epoch + 1) == 1
    assert ask(second, "MEMBER.WAIT", 1) == 1


@pytest.mark.parametrize(("words", "kinds"), [
    (("MEMBER.PUT", "key", "value"), ("UNKNOWN ",)),
    (("MEMBER.DEL", "key"), ("UNKNOWN ",)),
    (("MEMBER.WAIT", 0), ("ERR ", "UNKNOWN ", "MOVED ")),
    (("MEMBER.WAIT", 1_000), ("ERR ", "UNKNOWN ", "MOVED ")),
])  # fmt: skip
def test_a_client_blocked_at_a_head_that_is_removed_is_told(
    chain: StartChain, words: tuple[Word, ...], kinds: tuple[str, ...]
) -> None:
    """Only the head gets the view without it, so that nothing can commit the updates that it holds."""
    cluster = chain(3, master_config=PATIENT)
    view = stored_view(cluster)
    without = type(view)(view.history, view.epoch + 1, view.members[1:], view.secret)
    with paused(cluster.members[1]), Talk(cluster.head) as client:
        ask(cluster.head, "MEMBER.PUT", "other", "held", "me")
        client.send(*words)
        assert client.is_silent()
        proven(cluster.head, view).adopt(without)
        assert client.receive().startswith(kinds)
