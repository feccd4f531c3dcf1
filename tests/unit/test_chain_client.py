# SPDX-License-Identifier: Apache-2.0
"""chainredis.client without servers: where a command goes, and what each outcome leads to."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from redis.exceptions import BusyLoadingError, MasterDownError, MovedError, TryAgainError

from chainredis import client
from chainredis.client.batches import MAX_UPDATES, Batch, batches, pairs_of
from chainredis.client.commands import CommandTable, once_names, read_names
from chainredis.client.errors import Fate, NotWritten, Unknown, Unreached, fate_of, raise_if_all_refused
from chainredis.client.once import Places, is_without_once
from chainredis.client.routing import (
    LONGEST_PAUSE_S,
    Address,
    Answers,
    Ask,
    Deadline,
    Plan,
    Reply,
    Role,
    Route,
    Send,
    Step,
    View,
    address_of,
    deliver,
)

A, B, C = [("host", port) for port in (1, 2, 3)]
TIMEOUT_S = 1.0


class Chain:
    """What answers a plan: for each server a view that it knows, and what it does with a command. Time is counted."""

    def __init__(self, *known: Address) -> None:
        self.now = 0.0
        self.route = Route(known or (A, B, C))
        self.views: dict[Address, View] = {}
        self.answers: dict[Address, Callable[[], Any]] = {}
        self.sent: list[Address] = []
        self.asked: list[Ask] = []

    def run(
        self, role: Role = Role.HEAD, *, repeatable: bool = False, settles: bool = False, once: bool = False
    ) -> Any:
        self.sent.clear()
        deadline = Deadline(TIMEOUT_S, lambda: self.now)
        plan = deliver(self.route, role, deadline, repeatable=repeatable or once, settles=settles, once=once)
        return self._carry_out(plan)

    def _carry_out(self, plan: Plan) -> Any:
        try:
            step: Step = next(plan)
            while True:
                step = plan.send(self._ask(step) if isinstance(step, Ask) else self._send(step))
        except StopIteration as end:
            return end.value

    def _send(self, step: Send) -> Any:
        self.sent.append(step.address)
        answer = self.answers.get(step.address, lambda: Unreached("refused"))()
        return answer if isinstance(answer, redis.RedisError) else Reply(answer)

    def _ask(self, step: Ask) -> bool:
        self.asked.append(step)
        views = [self.views[each] for each in step.addresses if each in self.views]
        if [view for view in views if self.route.learn(view)]:
            return True
        self.now += max(step.wait_s if views else 0.0, step.pause_s)
        return False


@pytest.fixture
def chain() -> Chain:
    """A chain of three that is well, whose view the client knows."""
    made = Chain()
    made.route.learn(View(1, (A, B, C)))
    made.views = dict.fromkeys((A, B, C), View(1, (A, B, C)))
    made.answers = {each: lambda: "OK" for each in (A, B, C)}
    return made


def repaired(chain: Chain, *members: Address) -> None:
    """The others know the next view."""
    for each in members:
        chain.views[each] = View(2, members)


def test_the_view_is_asked_for_first() -> None:
    chain = Chain(B)
    chain.views[B] = View(7, (A, B))
    chain.answers[A] = lambda: "OK"
    assert chain.run() == "OK"
    assert (chain.sent, chain.route.epoch) == ([A], 7)


def test_each_role_has_its_member(chain: Chain) -> None:
    assert [chain.route.place(role) for role in (Role.HEAD, Role.TAIL)] == [A, C]
    assert [chain.route.place(Role.ANY) for _ in range(4)] == [A, B, C, A]


def test_a_dead_head_is_followed_without_a_pause(chain: Chain) -> None:
    chain.answers[A] = lambda: Unreached("refused")
    repaired(chain, B, C)
    assert chain.run() == "OK"
    assert (chain.sent, chain.now) == ([A, B], 0.0)
    assert A not in chain.asked[0].addresses
    assert chain.asked[0].wait_s == LONGEST_PAUSE_S  # the answer comes with the view, and not later


@pytest.mark.parametrize("error", [redis.ConnectionError("closed"), redis.TimeoutError("silent")])
def test_a_write_whose_answer_is_lost_is_unknown_and_not_repeated(chain: Chain, error: redis.RedisError) -> None:
    chain.answers[A] = lambda: error
    with pytest.raises(Unknown):
        chain.run()
    assert chain.sent == [A]


def test_a_read_whose_answer_is_lost_is_repeated_elsewhere(chain: Chain) -> None:
    chain.answers[A] = lambda: redis.ConnectionError("closed")
    assert chain.run(Role.ANY, repeatable=True) == "OK"
    assert chain.sent == [A, B]
    assert [chain.route.place(Role.ANY) for _ in range(4)].count(A) == 0


def test_all_members_are_read_again_when_none_is_left_or_there_is_a_new_view(chain: Chain) -> None:
    for each in (A, B, C):
        chain.route.shun(each)
    assert {chain.route.place(Role.ANY) for _ in range(3)} == {A, B, C}
    chain.route.shun(A)
    chain.route.learn(View(2, (A, B)))
    assert {chain.route.place(Role.ANY) for _ in range(2)} == {A, B}


def test_what_the_server_does_not_know_is_unknown(chain: Chain) -> None:
    chain.answers[A] = lambda: redis.ResponseError("UNKNOWN the write was not known to be committed in time")
    with pytest.raises(Unknown, match="not known to be committed"):
        chain.run()


def test_a_write_that_is_carried_out_once_is_repeated(chain: Chain) -> None:
    """At the same member, which may be well, and then at the next head."""
    answers = iter([redis.ConnectionError("closed"), Unreached("refused")])
    chain.answers[A] = lambda: next(answers)
    repaired(chain, B, C)
    assert chain.run(once=True) == "OK"
    assert chain.sent == [A, A, B]


def test_it_is_unknown_when_nobody_gives_the_answer_again(chain: Chain) -> None:
    """And not written if each one refused it."""
    answers = iter([redis.ConnectionError("closed")])
    chain.answers[A] = lambda: next(answers, TryAgainError("about to be the head"))
    with pytest.raises(Unknown, match="an answer was lost before: closed"):
        chain.run(once=True)
    with pytest.raises(NotWritten):
        chain.run(once=True)


def test_connections_that_break_again_and_again_cost_pauses(chain: Chain) -> None:
    chain.answers[A] = lambda: redis.ConnectionError("closed")
    with pytest.raises(Unknown):
        chain.run(once=True)
    assert len(chain.sent) < 200
    assert chain.now >= TIMEOUT_S


def test_an_error_that_the_command_had_is_its_answer(chain: Chain) -> None:
    answers = iter([redis.ConnectionError("closed"), redis.ResponseError("WRONGTYPE")])
    chain.answers[A] = lambda: next(answers)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        chain.run(once=True)


@pytest.mark.parametrize("error", [redis.ResponseError("BUSY Redis is busy"), redis.AuthenticationError("NOAUTH")])
def test_an_error_that_says_nothing_of_the_command_is_not_its_answer(chain: Chain, error: redis.RedisError) -> None:
    """The first attempt may be under way, such as a script that takes long."""
    answers = iter([redis.TimeoutError("silent"), error, error])
    chain.answers[A] = lambda: next(answers, "OK")
    assert chain.run(once=True) == "OK"
    chain.answers[A] = lambda: error
    with pytest.raises(type(error)):
        chain.run(once=True)    # it was never sent


def test_a_full_table_is_waited_for(chain: Chain) -> None:
    answers = iter([redis.ResponseError("ONCEFULL no place for another reply: nothing was done.")] * 3)
    chain.answers[A] = lambda: next(answers, "OK")
    assert chain.run(once=True) == "OK"


def test_a_settling_question_goes_on_where_the_head_is(chain: Chain) -> None:
    chain.answers[A] = lambda: redis.ResponseError("UNKNOWN this member is the head no more: …")
    repaired(chain, B, C)
    assert chain.run(repeatable=True, settles=True) == "OK"
    chain.answers[B] = lambda: redis.ResponseError("UNKNOWN that sequence number now belongs to …")
    with pytest.raises(Unknown):
        chain.run(repeatable=True, settles=True)


def test_moved_is_followed_at_once_and_the_view_is_asked_for(chain: Chain) -> None:
    chain.answers[A] = lambda: MovedError("0 host:2")
    assert chain.run() == "OK"
    assert (chain.sent, chain.now) == ([A, B], 0.0)
    assert chain.asked == [Ask((B,), 1)]


def test_two_members_that_name_each_other_cost_pauses_and_no_more(chain: Chain) -> None:
    chain.answers |= {A: lambda: MovedError("0 host:2"), B: lambda: MovedError("0 host:1")}
    with pytest.raises(NotWritten, match="host:"):
        chain.run()
    assert len(chain.sent) < 100
    assert TIMEOUT_S <= chain.now < TIMEOUT_S + 2 * LONGEST_PAUSE_S


@pytest.mark.parametrize(
    "error",
    [
        TryAgainError("about to be the head"),
        redis.ReadOnlyError("You can't write"),
        MasterDownError("this member is in no chain"),
        BusyLoadingError("loading"),
        redis.ResponseError("this member is in no chain at present: nothing was written."),
        redis.exceptions.ExecAbortError("Transaction discarded because of: READONLY You can't write"),
    ],
)
def test_refusals_are_followed_with_growing_pauses(chain: Chain, error: redis.RedisError) -> None:
    answers = iter([error] * 10)
    chain.answers[A] = lambda: next(answers, "OK")
    assert chain.run() == "OK"
    waits = [ask.wait_s for ask in chain.asked]
    assert waits[:3] == [0.001, 0.002, 0.004]
    assert max(waits) == LONGEST_PAUSE_S


def test_a_chain_that_refuses_for_ever_has_not_written(chain: Chain) -> None:
    chain.answers[A] = lambda: TryAgainError("about to be the head")
    with pytest.raises(NotWritten, match="about to be the head"):
        chain.run()
    assert chain.route.view is None  # another chain with lower epochs may have come
    chain.views = dict.fromkeys((A, B, C), View(0, (B, C)))
    assert chain.run() == "OK"
    assert chain.sent == [B]


def test_nobody_answers() -> None:
    chain = Chain()
    with pytest.raises(NotWritten, match=r"host:1, host:2, host:3$"):
        chain.run()
    assert chain.sent == []


@pytest.mark.parametrize(("answer", "why"), [(Unreached("it is refused"), "refused"), (View(0, ()), "in no chain")])
def test_why_no_chain_is_found_is_told(answer: View | redis.RedisError, why: str) -> None:
    chain = Chain()
    Answers(chain.route, Ask((A,), None), now=0.0).take(answer, 0.0)
    with pytest.raises(NotWritten, match=f"host:3: .*{why}$"):
        chain.run()


def test_an_option_that_redis_py_does_not_know_is_an_error_at_once() -> None:
    """Also where it is an error of a thread, of which nobody else would hear."""

    async def get() -> None:
        await client.AsyncChain(["127.0.0.1:1"], nonsense=1).get("a")

    with pytest.raises(TypeError, match="nonsense"):
        asyncio.run(get())
    with pytest.raises(TypeError, match="nonsense"):
        client.Chain(["127.0.0.1:1"], nonsense=1).get("a")


@pytest.mark.parametrize("given", ["10.0.0.1:6370", [], ["redis://10.0.0.1:6370"]])
def test_what_is_no_list_of_addresses_is_refused(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"addresses are a list|at least one|host:port"):
        client.Chain(given)


def test_other_errors_are_those_of_the_server(chain: Chain) -> None:
    for error in (redis.ResponseError("WRONGTYPE"), redis.AuthenticationError("NOAUTH"), redis.WatchError("changed")):
        chain.answers[A] = partial(_same, error)
        with pytest.raises(type(error)):
            chain.run()
        assert chain.sent == [A]


def _same(error: redis.RedisError) -> redis.RedisError:
    return error


def test_a_lost_exec_is_told_from_a_changed_key() -> None:
    lost = redis.WatchError("A ConnectionError occurred while watching one or more keys")
    lost.__context__ = redis.ConnectionError("closed")
    assert (fate_of(lost), fate_of(redis.WatchError("changed"))) == (Fate.LOST, Fate.FINAL)


def test_once_somebody_has_answered_nobody_who_hangs_is_waited_for(chain: Chain) -> None:
    answers = Answers(chain.route, Ask((A, B, C), 1, wait_s=0.01), now=100.0)
    before = answers.until
    assert not answers.take(Unreached("refused"), 100.0)
    assert answers.until == before
    assert not answers.take(View(1, (A, B, C)), 100.01)
    assert answers.until == pytest.approx(100.01 + LONGEST_PAUSE_S)
    assert answers.take(View(2, (B, C)), 100.02)


def test_a_wrong_password_is_said_at_once() -> None:
    answers = Answers(Chain().route, Ask((A,), None), now=0.0)
    answers.take(redis.AuthenticationError("WRONGPASS"), 0.0)
    with pytest.raises(redis.AuthenticationError):
        answers.check()


def test_an_older_view_is_not_learned(chain: Chain) -> None:
    assert not chain.route.learn(View(1, (C,)))
    assert not chain.route.learn(View(2, ()))
    assert chain.route.place(Role.HEAD) == A


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:x", "host:0", "host:65536"])
def test_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        address_of(text)
    assert (address_of(b"10.0.0.1:6370"), address_of("[::1]:6370")) == (("10.0.0.1", 6370), ("::1", 6370))


# ------------------------------------------------------------------------------------- which commands are for whom

COMMANDS = [
    [b"get", 2, [b"readonly", b"fast"], 1, 1, 1, [], [], [], []],
    [b"scan", -2, [b"readonly"], 0, 0, 0, [], [], [], []],
    [b"xread", -4, [b"readonly", b"blocking"], 0, 0, 0, [], [], [], []],
    [b"pfcount", -2, [b"readonly", b"may_replicate"], 1, 1, 1, [], [], [], []],
    [b"set", -3, [b"write"], 1, 1, 1, [], [], [], []],
    [b"blpop", -3, [b"write", b"blocking"], 1, 1, 1, [], [], [], []],
    [b"eval", -3, [b"noscript", b"may_replicate"], 0, 0, 0, [], [], [], []],
    [b"publish", 3, [b"may_replicate"], 0, 0, 0, [], [], [], []],
    [b"config", -2, [b"noscript"], 0, 0, 0, [], [], [], []],
    [b"member.put", -3, [b"write", b"noscript"], 0, 0, 0, [], [], [], []],
    [b"member.once", -3, [b"write", b"noscript"], 0, 0, 0, [], [], [], []],
    [b"object", -2, [], 0, 0, 0, [], [], [], [[b"object|encoding", 3, {b"readonly"}, 2, 2, 1, [], [], [], []]]],
    [b"read", 2, [b"readonly"], 1, 1, 1, [], [], [], []],
]


@pytest.mark.parametrize(
    ("args", "role"),
    [
        (("GET", "k"), Role.ANY),
        ((b"get", "k"), Role.ANY),
        (("OBJECT", "ENCODING", "k"), Role.ANY),
        (("OBJECT ENCODING", "k"), Role.ANY),
        (("OBJECT", "FREQ", "k"), Role.HEAD),
        (("SCAN", 0), Role.HEAD),
        (("XREAD", "STREAMS", "k", "0"), Role.HEAD),
        (("PFCOUNT", "k"), Role.HEAD),
        (("SET", "k", "v"), Role.HEAD),
        (("READ", "k"), Role.TAIL),
        (("MEMBER.PUT", "k", "v"), Role.HEAD),
    ],
)
def test_reads_go_to_any_member_and_all_else_to_the_head(args: tuple[Any, ...], role: Role) -> None:
    assert CommandTable(read_names(COMMANDS), Role.ANY).role(args) is role


def test_a_cursor_belongs_to_the_head_and_may_be_asked_for_twice() -> None:
    table = CommandTable(read_names(COMMANDS), Role.ANY)
    assert table.is_read(("SCAN", 0))
    assert not table.is_read(("SET", "k", "v"))


def test_what_may_write_and_does_not_wait_is_sent_to_be_carried_out_once() -> None:
    table = CommandTable(read_names(COMMANDS), Role.ANY, once_names(COMMANDS))
    once = {name for name in ("get", "set", "blpop", "eval", "publish", "config", "member.put", "member.once")
            if table.is_once((name.upper(), "k"))}
    assert once == {"set", "eval", "publish", "member.put"}
    assert once_names(COMMANDS[:5]) == frozenset()  # of a chain that does not know MEMBER.ONCE


def test_an_id_is_for_one_command_at_a_time() -> None:
    places = Places()
    first, second = places.take(), places.take()
    assert first.id != second.id
    assert first.words(("XGROUP CREATE", "k", "g", 0)) == (
        "MEMBER.ONCE", first.id, 1, "XGROUP", "CREATE", "k", "g", 0,
    )  # fmt: skip
    places.give_back(first)
    again = places.take()
    assert (again.id, again.sequence) == (first.id, 2)
    assert len(first.id) <= 64
    second.is_clean = False
    places.give_back(again)
    places.give_back(second)
    assert places.leave() == [("MEMBER.ONCE", first.id, "FORGET")]
    assert places.leave() == []


def test_a_process_that_was_forked_has_ids_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places()
    parents, busy = places.take(), places.take()
    places.give_back(parents)
    monkeypatch.setattr("os.getpid", lambda: -1)
    child = places.take()
    assert child.id.split(":")[0] != parents.id.split(":")[0]
    places.give_back(busy)
    places.give_back(child)
    assert places.take() is child
    assert places.take().id.startswith(child.id.split(":")[0])


def test_who_may_not_use_it_does_without() -> None:
    no_right = redis.exceptions.NoPermissionError("this user has no permissions to run the 'member.once' command")
    assert is_without_once(no_right)
    assert is_without_once(redis.ResponseError("unknown command 'MEMBER.ONCE', with args beginning with: …"))
    assert is_without_once(redis.ResponseError("MEMBER.ONCE is in chains of all commands (member.commands)"))
    assert not is_without_once(redis.exceptions.NoPermissionError("… this command under MEMBER.ONCE, or for …"))
    assert not is_without_once(redis.ResponseError("unknown command 'nosuch'"))


# ------------------------------------------------------------------------------------------- many updates at once


def test_batches_are_bounded() -> None:
    sizes = [len(batch.pairs) for batch in batches(iter([("k", "v")] * (MAX_UPDATES + 1)), "id")]
    assert sizes == [MAX_UPDATES, 1]
    assert len(list(batches(pairs_of({"a": "x" * 2_000_000, "b": "x"}), "id"))) == 2


def batch_of(*keys: str) -> Batch:
    return Batch([(key, "v") for key in keys], "id")


def test_a_batch_that_is_committed() -> None:
    batch = batch_of("a", "b")
    assert batch.commands() == [("MEMBER.VIEW",), ("MEMBER.PUT", "a", "v", "id"), ("MEMBER.PUT", "b", "v", "id")]
    batch.take([[4, b"host:1"], 10, 11])
    assert (batch.epoch, batch.newest, batch.is_pending) == (4, 11, False)
    batch.settle(11)
    assert batch.check([]) == [10, 11]


def test_what_was_refused_is_sent_again() -> None:
    batch = batch_of("a", "b")
    batch.take([[4, b"host:1"], 10, MovedError("0 host:2")])
    batch.settle(10)
    assert batch.commands()[1:] == [("MEMBER.PUT", "b", "v", "id")]
    batch.take([[5, b"host:2"], 11])
    batch.settle(12)
    assert batch.check([]) == [10, 11]


def test_a_member_that_refuses_all_updates_is_no_head() -> None:
    raise_if_all_refused([])
    raise_if_all_refused([10, MovedError("0 host:2")])
    with pytest.raises(MovedError):
        raise_if_all_refused([MovedError("0 host:2")])


def test_what_got_no_reply_is_unknown_and_the_rest_is_not() -> None:
    batch = batch_of("a", "b", "c")
    batch.take([[4, b"host:1"], 10])
    batch.settle(10)
    with pytest.raises(Unknown) as raised:
        batch.check([("d", "v")])
    assert (raised.value.keys, raised.value.not_written) == (["b", "c"], ["d"])


def test_what_is_not_known_to_be_committed_is_unknown() -> None:
    batch = batch_of("a", "b")
    batch.take([[4, b"host:1"], 10, redis.ResponseError("too large")])
    batch.settle(None)
    with pytest.raises(Unknown) as raised:
        batch.check([])
    assert (raised.value.keys, raised.value.not_written) == (["a"], ["b"])


def test_what_nobody_took_is_not_written() -> None:
    batch = batch_of("a", "b")
    batch.take([[4, b"host:1"], 10, MovedError("0 host:2")])
    batch.settle(10)
    batch.refuse(NotWritten("not within 1 s"))
    with pytest.raises(NotWritten, match="not within 1 s") as raised:
        batch.check([("c", "v")])
    assert raised.value.keys == ["b", "c"]
