"""The append-only file of a member: what goes in, when, and what a restart makes of it (design.md, "Restart")."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event

import psutil
import pytest
import redis

from chainredis.local_cluster.launcher import HOST, MEMBER, LauncherError, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.disks import ALWAYS, EVERY_SECOND, restart, without_master
from integration.helpers import (
    Error,
    Talk,
    Word,
    ask,
    ask_removed,
    assert_serves,
    info,
    member_number,
    running,
    settled,
    state,
)

KEYS = 200


def file_of(server: Server) -> Path:
    """What is appended to at present."""
    return max((server.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))


def append(server: Server, *commands: Sequence[Word]) -> None:
    """To the file of a server that has ended."""
    with file_of(server).open("ab") as file:
        for words in commands:
            texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            file.write(b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts))


def an_update(key: bytes, value: bytes) -> bytes:
    absent = b"\xff" * 4
    return len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + absent + key + value


def data(server: Server) -> dict[bytes, bytes]:
    """Everything that is in memory."""
    with server.client() as client:
        client.config_set("member.serve-removed-data", "yes")
        keys = sorted(client.scan_iter(count=1000))
        found = dict(zip(keys, client.mget(keys), strict=True)) if keys else {}
        client.config_set("member.serve-removed-data", "no")
        return found


class Load:
    """Pipelines of updates at the head: every key gets rising numbers, and now and then is deleted.

    acknowledged: the newest sn known to be committed.
    """

    def __init__(self, head: Server, client: str, depth: int = 20) -> None:
        self.head = head
        self.client = client
        self.depth = depth
        self.acknowledged = -1
        self.numbers = count()

    def updates(self) -> Iterator[tuple[Word, ...]]:
        for number in (next(self.numbers) for _ in range(self.depth)):
            key = f"{self.client}-{number % KEYS}"
            yield ("MEMBER.DEL", key) if number % 7 == 0 else ("MEMBER.PUT", key, number)

    def __call__(self, stop: Event) -> None:
        try:
            with Talk(self.head) as talk:
                while not stop.is_set():
                    for reply in talk.pipeline(list(self.updates())):
                        assert isinstance(reply, int) or reply.startswith("UNKNOWN "), reply
                        if isinstance(reply, int):
                            self.acknowledged = max(self.acknowledged, reply)
        except (redis.ConnectionError, redis.TimeoutError):
            return  # the head was killed


# ------------------------------------------------------------------------------------------------ under load


@pytest.mark.parametrize(("size", "rewriting"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
def test_what_was_acknowledged_is_there_after_all_were_killed(chain: StartChain, size: int, rewriting: bool) -> None:
    cluster = without_master(chain(size, member_config=ALWAYS))
    loads = [Load(cluster.head, client) for client in "abc"]
    with running(*loads):
        wait_until(lambda: all(load.acknowledged > 500 for load in loads), 60)
        for member in cluster.members if rewriting else ():
            ask(member, "CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
            assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
        seen = loads[0].acknowledged
        wait_until(lambda: loads[0].acknowledged > seen + 200, 60)
        for member in cluster.members:
            member.kill()
    acknowledged = max(load.acknowledged for load in loads)
    for member in cluster.members:
        member.start()
    states = [state(member) for member in cluster.members]
    assert all(after.applied >= acknowledged and after.role == "removed" for after in states)
    assert all(after.record_durable and after.record_epoch == size for after in states)
    longest = max(after.applied for after in states)
    assert len({str(data(member)) for member in cluster.members if state(member).applied == longest}) == 1


def test_a_killed_chain_goes_on_with_everything(chain: StartChain) -> None:
    cluster = chain(3, member_config=ALWAYS)
    load = Load(cluster.head, "a")
    with running(load):
        wait_until(lambda: load.acknowledged > 500, 60)
        for server in cluster.servers:
            server.kill()
    for server in cluster.servers:
        server.start()
    wait_until(lambda: len(ask(cluster.master, "MASTER.GET_CHAIN")) == 3, 60)
    by_endpoint = {str(member.endpoint).encode(): member for member in cluster.members}
    cluster.members = [by_endpoint[text] for text in ask(cluster.master, "MASTER.GET_CHAIN")]
    wait_until(lambda: all(state(member).serving for member in cluster.members), 30)
    assert settled(cluster) >= load.acknowledged
    assert len({str(data(member)) for member in cluster.members}) == 1
    assert_serves(cluster)


@pytest.mark.parametrize("fsync", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])
def test_the_file_is_rewritten_under_load(chain: StartChain, fsync: dict[str, str]) -> None:
    cluster = chain(2, member_config=fsync)
    loads = [Load(cluster.head, client) for client in "ab"]
    with running(*loads):
        for rewrites in range(1, 4):
            for member in cluster.members:
                before = int(info(member, "persistence")["aof_rewrites"])
                wait_until(lambda member=member: not isinstance(ask(member, "BGREWRITEAOF"), Error), 30)  # type: ignore[misc]
                wait_until(
                    lambda member=member, before=before: rewritten(member, before), 30  # type: ignore[misc]
                )
            wait_until(lambda so_far=rewrites * 200: loads[0].acknowledged > so_far, 60)  # type: ignore[misc]
    settled(cluster)
    without_master(cluster)
    expected = [(state(member).applied, data(member)) for member in cluster.members]
    for member in cluster.members:
        with pytest.raises(redis.ConnectionError):
            ask(member, "SHUTDOWN")
        wait_until(lambda member=member: not member.running, 20)  # type: ignore[misc]
        member.start()
    assert [(state(member).applied, data(member)) for member in cluster.members] == expected


def rewritten(member: Server, before: int) -> bool:
    persistence = info(member, "persistence")
    assert persistence["aof_last_bgrewrite_status"] == "ok"
    return int(persistence["aof_rewrites"]) > before and persistence["aof_rewrite_in_progress"] == "0"


# ----------------------------------------------------------------------------------------- exactly what was written


def test_any_update_is_read_again(chain: StartChain) -> None:
    """Long ones, empty ones, any bytes, deletions, with and without a client's channel."""
    cluster = without_master(chain(2, member_config=ALWAYS))
    long = b"x" * 300_000
    with Talk(cluster.head) as talk:
        replies = talk.pipeline([
            ("MEMBER.PUT", b"\0\r\n\xff", b"\0" * 100), ("MEMBER.PUT", "empty", ""), ("MEMBER.PUT", "", "no key"),
            ("MEMBER.PUT", "long", long), ("MEMBER.PUT", "short", "1", "me"), ("MEMBER.PUT", long, "a long key", "me"),
            ("MEMBER.PUT", long, long, "me"), ("MEMBER.PUT", "gone", "x"), ("MEMBER.DEL", "gone"),
            ("MEMBER.DEL", "never", "me"), ("MEMBER.PUT", "long-and-empty" + "y" * 300_000, ""), ("MEMBER.WAIT", 10),
        ])
    assert replies == [*range(11), 10]
    before = [data(member) for member in cluster.members]
    for member in cluster.members:
        restart(member)
    assert [data(member) for member in cluster.members] == before
    assert [state(member).applied for member in cluster.members] == [10, 10]


def test_a_lone_server_keeps_the_order_of_updates_and_native_writes(server: StartServer) -> None:
    one = server(MEMBER, **ALWAYS)
    with Talk(one) as talk:
        for round_ in range(50):
            talk.pipeline([
                ("MEMBER.PUT", "a", round_), ("APPEND", "a", "-"), ("SET", "b", round_), ("MEMBER.PUT", "b", "put"),
                ("SET", "c", round_), ("MEMBER.DEL", "c"), ("MEMBER.PUT", "d", round_), ("DEL", "d"),
                ("SETEX", "e", 1000, "x"), ("MEMBER.PUT", "e", "stays"), ("MULTI",), ("INCR", "n"), ("EXEC",),
                ("MEMBER.PUT", "f", round_, "me"),
            ])
    before = data(one)
    assert before == {b"a": b"49-", b"b": b"put", b"e": b"stays", b"f": b"49", b"n": b"50"}
    restart(one)
    assert (data(one), state(one).role, ask(one, "TTL", "e")) == (before, "alone", -1)


def test_what_a_lone_server_recorded_becomes_the_chains(chain: StartChain) -> None:
    cluster = chain(0)
    first = cluster.spare(**ALWAYS)
    with Talk(first) as talk:
        talk.pipeline([("SET", "native", "x"), ("MEMBER.PUT", "a", 1), ("MEMBER.PUT", "a", 2)])
    cluster.add(first)
    cluster.grow()
    assert ask(first, "MEMBER.PUT", "b", 1) == 2
    settled(cluster)
    without_master(cluster)
    before = state(first)
    restart(first)
    after = state(first)
    assert (after.history, after.applied, after.assigned) == (before.history, 2, before.assigned)
    assert data(first) == {b"native": b"x", b"a": b"2", b"b": b"1"}


def test_a_first_view_amid_updates(server: StartServer) -> None:
    """What was recorded as a native write before is the chain's data, and what comes in the same pass its update."""
    one = server(MEMBER, **ALWAYS)
    view = ("ab" * 16, "cd" * 16, 1, 1, HOST, HOST, one.port, state(one).run_id)
    with Talk(one) as talk:
        replies = talk.pipeline([
            ("SET", "n", 1), ("MEMBER.PUT", "k", "before"), ("CHAIN.ADOPT", *view), ("MEMBER.PUT", "k", "after", "me"),
            ("MEMBER.PUT", "l", "after", "me"), ("SET", "n", 2),
        ])
    assert replies[:5] == [b"OK", 0, [b"ADOPTED", 1, 0], 1, 2] and replies[5].startswith("ERR ")
    one.kill()
    one.start()
    assert (state(one).history, state(one).applied, state(one).assigned) == ("ab" * 16, 2, 1)
    assert data(one) == {b"n": b"1", b"k": b"after", b"l": b"after"}


def test_starting_again_and_again(chain: StartChain) -> None:
    """The record stays as it was, through a rewrite too, until the server takes another place."""
    cluster = without_master(chain(2, member_config=ALWAYS))
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    for member in cluster.members:
        former = state(member)
        for round_ in range(3):
            restart(member)
            after = state(member)
            assert (after.applied, after.record_epoch, after.record_run_id) == (0, 2, former.run_id)
            assert after.record_durable
            if round_ == 1:
                assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
                wait_until(lambda member=member: rewritten(member, 0), 30)  # type: ignore[misc]


def test_the_log_is_there_again_for_those_that_lack_a_little(chain: StartChain) -> None:
    cluster = chain(2, member_config=ALWAYS)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", "k", n) for n in range(100)])
    cluster.remove(away := cluster.tail)
    assert ask(cluster.head, "MEMBER.PUT", "k", "later") == 100
    for server in [cluster.master, cluster.head, away]:
        restart(server)
    wait_until(lambda: state(cluster.head).serving, 30)
    cluster.add(away)
    assert (member_number(away, "joins_by_log"), member_number(away, "joined_from")) == (1, 99)
    assert ask(away, "READ", "k") == b"later"


# ------------------------------------------------------------------------------- nothing leaves before it is there


def test_an_update_is_on_disk_before_the_successor_hears_of_it(chain: StartChain) -> None:
    cluster = without_master(chain(2, member_config={**ALWAYS, "enable-debug-command": "yes"}))
    head, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "k", "kept") == 0
    ask(head, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)  # microseconds before each write
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "lost")
        wait_until(lambda: not answers(head), 20)
        head.kill()
    head.start()
    assert [state(member).applied for member in (head, tail)] == [0, 0]


def test_an_update_is_on_the_tails_disk_before_anybody_hears_of_it(chain: StartChain) -> None:
    cluster = without_master(chain(2, member_config={**ALWAYS, "enable-debug-command": "yes"}))
    head, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "k", "kept") == 0
    ask(tail, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "unknown")
        wait_until(lambda: not answers(tail), 20)
        tail.kill()
        assert talk.is_silent()
        tail.start()
        assert (state(tail).applied, state(head).committed) == (0, 0)


def test_an_update_in_a_pass_that_is_almost_over_is_on_disk_before_its_answer(chain: StartChain) -> None:
    """Redis runs the commands of a client that it has just unblocked after the event in which updates are recorded."""
    cluster = without_master(chain(1, member_config={**ALWAYS, "enable-debug-command": "yes"}))
    member = cluster.head
    ask(member, "DEBUG", "AOF-FLUSH-SLEEP", 300_000)
    with Talk(member) as talk:
        assert talk.pipeline([("MEMBER.PUT", "k", 1), ("MEMBER.PUT", "k", 2, "me")]) == [0, 1]
        member.kill()
    member.start()
    assert (state(member).applied, ask_removed(member, "GET", "k")) == (1, b"2")


def answers(server: Server) -> bool:
    try:
        with Talk(server, timeout_s=0.3) as talk:
            return bool(talk("PING") == b"PONG")
    except redis.TimeoutError:
        return False


def test_without_always_nothing_waits(chain: StartChain) -> None:
    cluster = chain(2, member_config=EVERY_SECOND)
    assert_serves(cluster)
    for member in cluster.members:
        assert member_number(member, "waits_for_disk") == 0
        assert not state(member).record_durable


# -------------------------------------------------------------------------------------------------- bad files


def killed_after(chain: StartChain, updates: int) -> Server:
    """A member that was killed with so many updates in its file."""
    cluster = without_master(chain(1, member_config=ALWAYS))
    for number in range(updates):
        assert ask(cluster.head, "MEMBER.PUT", f"k{number}", number) == number
    cluster.head.kill()
    return cluster.head


@pytest.mark.parametrize("missing", [1, 5, 30])
def test_a_file_that_was_cut_off(chain: StartChain, missing: int) -> None:
    """What was being written when the machine lost its power: Redis cuts off the rest."""
    member = killed_after(chain, 3)
    whole = file_of(member).read_bytes()
    file_of(member).write_bytes(whole[:-missing])
    member.start()
    assert (state(member).applied, ask_removed(member, "MGET", "k1", "k2")) == (1, [b"1", None])
    restart(member)
    assert state(member).applied == 1


BAD_RECORDS: dict[str, tuple[Word, ...]] = {
    "gap": ("CHAIN.RECORD", 1, 7, 1, an_update(b"k", b"x")),
    "older-epoch": ("CHAIN.RECORD", 0, 3, 1, an_update(b"k", b"x")),
    "no-payload": ("CHAIN.RECORD", 1, 3, 1, b""),
    "wrong-count": ("CHAIN.RECORD", 1, 3, 2, an_update(b"k", b"x")),
    "no-count": ("CHAIN.RECORD", 1, 3, 0, b""),
    "huge-count": ("CHAIN.RECORD", 1, 3, 2**63 - 1, an_update(b"k", b"x")),
    "no-numbers": ("CHAIN.RECORD", "x", "y", "z", an_update(b"k", b"x")),
    "too-short": ("CHAIN.RECORD", 1, 3, 1),
    "too-long": ("CHAIN.RECORD", 1, 3, 1, an_update(b"k", b"x"), b""),
    "place-too-far": ("CHAIN.RECORD.PLACE", "{history}", 3, 0, b"", 1, "a" * 40, 1),
    "other-chain": ("CHAIN.RECORD.PLACE", "ab" * 16, 2, 0, b"", 1, "a" * 40, 1),
    "no-history": ("CHAIN.RECORD.PLACE", "xy", 2, 0, b"", 1, "a" * 40, 1),
    "no-run-id": ("CHAIN.RECORD.PLACE", "{history}", 2, 0, b"", 1, "a", 1),
    "bad-boundaries": ("CHAIN.RECORD.PLACE", "{history}", 2, 9, b"", 1, "a" * 40, 1),
    "place-too-short": ("CHAIN.RECORD.PLACE", "{history}"),
}


@pytest.mark.parametrize("record", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_cannot_be_ends_what_is_loaded(chain: StartChain, record: tuple[Word, ...]) -> None:
    """What comes after it is ignored too, and gone with the file's next rewrite, which is made at once."""
    member = killed_after(chain, 3)
    history = (member.folder / f"chain.member.{member.port}").read_text().split("history ")[1][:32]
    words = [history if word == "{history}" else word for word in record]
    append(member, words, ("CHAIN.RECORD", 1, 3, 1, an_update(b"k", b"x")))
    member.start()
    after = state(member)
    assert (after.history, after.applied, after.record_durable) == (history, 2, False)
    assert data(member) == {b"k0": b"0", b"k1": b"1", b"k2": b"2"}
    assert member.log().count("holds a record that") == 1
    wait_until(lambda: rewritten(member, 0), 30)
    restart(member)
    assert (state(member).applied, state(member).record_durable) == (2, False)
    assert member.log().count("holds a record that") == 1


def test_records_of_no_history_are_ignored(server: StartServer) -> None:
    one = server(MEMBER, **ALWAYS)
    assert ask(one, "MEMBER.PUT", "k", "v") == 0
    one.kill()
    append(one, ("CHAIN.RECORD", 0, 1, 1, an_update(b"k", b"x")))
    one.start()
    assert (state(one).role, data(one)) == ("alone", {b"k": b"v"})


@pytest.mark.parametrize("words", [("CHAIN.RECORD", 1, 1, 1, an_update(b"k", b"x")), ("CHAIN.RECORD",), *(
    record for name, record in BAD_RECORDS.items() if "place" in name)])  # fmt: skip
def test_clients_write_no_records(chain: StartChain, words: tuple[Word, ...]) -> None:
    cluster = chain(2, member_config=ALWAYS)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    for member in cluster.members:
        assert ask(member, *words).startswith("ERR ")
        with Talk(member) as talk:
            _, _, replies = talk.pipeline([("MULTI",), words, ("EXEC",)])
            assert replies[0].startswith("ERR ")
        assert ask(member, "GET", "k") == b"v"
    assert_serves(cluster)


# ------------------------------------------------------------------------------------------ settings that change


def test_a_file_begun_at_run_time_counts_when_it_is_whole(chain: StartChain) -> None:
    cluster = without_master(chain(1))
    member = cluster.head
    with Talk(member) as talk:
        talk.pipeline([("MEMBER.PUT", n, n) for n in range(100)])
    assert ask(member, "CONFIG", "SET", "appendfsync", "always", "rdb-key-save-delay", 5_000) == b"OK"
    with Talk(member) as talk:
        replies = talk.pipeline([
            ("MEMBER.PUT", "in-the-same-pass", "before"), ("CONFIG", "SET", "appendonly", "yes"),
            ("MEMBER.PUT", "in-the-same-pass", "after"), ("MEMBER.PUT", "one-more", "x"),
        ])
    assert replies == [100, b"OK", 101, 102]
    assert member_number(member, "waits_for_disk") == 0
    wait_until(lambda: member_number(member, "waits_for_disk") == 1, 30)
    assert ask(member, "MEMBER.PUT", "later", "x") == 103
    before = data(member)
    member.kill()
    member.config["appendonly"] = "yes"
    member.start()
    assert (state(member).applied, data(member)) == (103, before)


def test_a_position_is_saved_in_any_file(chain: StartChain) -> None:
    """With aof-use-rdb-preamble no, Redis would rewrite the file without it."""
    cluster = without_master(chain(1, member_config={**ALWAYS, "aof-use-rdb-preamble": "no"}))
    member = cluster.head
    assert ask(member, "CONFIG", "GET", "aof-use-rdb-preamble")[1] == b"yes"
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    assert ask(member, "CONFIG", "SET", "aof-use-rdb-preamble", "no") == b"OK"
    wait_until(lambda: ask(member, "CONFIG", "GET", "aof-use-rdb-preamble")[1] == b"yes", 10)
    for _ in range(2):
        restart(member)
        assert state(member).applied == 0
        assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
        wait_until(lambda: rewritten(member, 0), 30)


def test_clients_paused_under_load(chain: StartChain) -> None:
    """Redis insists that nothing is propagated then, be it of updates in the very pass of its event loop."""
    cluster = chain(2, member_config=ALWAYS)
    with Talk(cluster.head) as talk:
        assert talk.pipeline([("MEMBER.PUT", "k", "v", "me"), ("CLIENT", "PAUSE", 200, "WRITE")]) == [0, b"OK"]
        assert talk("MEMBER.WAIT", 0) == 0
    load = Load(cluster.head, "a")
    with running(load):
        for round_, member in enumerate(cluster.members * 3, start=1):
            ask(member, "CLIENT", "PAUSE", 200, "ALL" if round_ > 4 else "WRITE")
            acknowledged = load.acknowledged
            wait_until(lambda so_far=acknowledged: load.acknowledged > so_far + 100, 30)  # type: ignore[misc]
    settled(cluster)
    without_master(cluster)
    before = [data(member) for member in cluster.members]
    for member in cluster.members:
        restart(member)
    assert [data(member) for member in cluster.members] == before


def test_a_member_whose_clients_are_paused_applies_nothing(chain: StartChain) -> None:
    """It could not record it, and would have to keep it all in memory."""
    cluster = chain(2, member_config=EVERY_SECOND)
    head, tail = cluster.members
    ask(tail, "CLIENT", "PAUSE", 60_000, "WRITE")
    before = member_number(head, "batches_sent")
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "v")
        wait_until(lambda: member_number(head, "batches_sent") > before, 10)
        assert talk.is_silent() and state(tail).applied == -1
        ask(tail, "CLIENT", "UNPAUSE")
        assert talk.receive() == 0
    assert_serves(cluster)


# ------------------------------------------------------------------------------------------------- joining


def saving(newcomer: Server) -> bool:
    """Its copy is complete, and the file is being rewritten with it."""
    copied = state(newcomer)
    if copied.applied < 0 or info(newcomer, "persistence")["aof_rewrite_in_progress"] == "0":
        return False
    assert copied.join == "copying"
    return True


@pytest.mark.parametrize("fsync", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])
def test_a_newcomer_counts_when_its_file_holds_the_copy(chain: StartChain, fsync: dict[str, str]) -> None:
    cluster = chain(1)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", n, n) for n in range(20)])
    newcomer = cluster.spare(**fsync, rdb_key_save_delay="50000")
    with ThreadPoolExecutor(1) as pool:
        addition = pool.submit(cluster.add, newcomer)
        wait_until(lambda: saving(newcomer), 30)
        assert ask(cluster.head, "MEMBER.PUT", "meanwhile", "x") == 20
        addition.result(60)
    assert state(newcomer).record_durable == (fsync is ALWAYS)
    settled(cluster)
    without_master(cluster)
    restart(newcomer)
    assert (state(newcomer).applied, len(data(newcomer))) == (20, 21)


def test_an_addition_fails_with_the_rewrite_of_its_file(chain: StartChain) -> None:
    cluster = chain(1)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    newcomer = cluster.spare(**ALWAYS, rdb_key_save_delay="100000000")
    with ThreadPoolExecutor(1) as pool:
        addition = pool.submit(cluster.add, newcomer)
        wait_until(lambda: saving(newcomer), 30)
        (child,) = psutil.Process(newcomer.pid).children()
        child.kill()
        with pytest.raises(LauncherError, match="append-only file could not be rewritten"):
            addition.result(60)
    assert ask(newcomer, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
    for child in psutil.Process(newcomer.pid).children():
        child.kill()  # of the rewrite that Redis has begun by itself
    cluster.add(newcomer)
    assert state(newcomer).record_durable
    assert_serves(cluster)
