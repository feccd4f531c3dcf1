# SPDX-License-Identifier: Apache-2.0
"""No input kills a server (rule 7): garbage to every command, also internal ones, from strangers and proven peers.

Input of a client that has not proved the secret changes nothing. A proven peer that lies can stop its chain, as it
could by leaving it, but it cannot crash a server or block its clients.
"""

import random
from collections.abc import Iterable, Sequence

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER, Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import View
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import OWN_RUN_ID, Error, Talk, Word, ask, assert_serves, proven, state, stored_view

ROUNDS = 3_000
BATCH = 100

NUMBERS = [
    "0", "1", "2", "3", "-1", "-2", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "4294967295",
    "4294967296", "2147483648", "18446744073709551615", "1e3", "0x10", " 1", "1 ", "+1", "00", "٣", "1" * 400,
]  # fmt: skip
TEXTS = [
    "", "x", "key", "127.0.0.1", "::1", "host with blanks", "\0", "a\0b", "\r\n", "%s%n%x", "*", "DISCARD", "EPOCH",
    "0" * 32, "f" * 32, "F" * 32, "g" * 32, "0" * 31, "0" * 33, "0" * 40, "f" * 40, "0" * 64, "x" * 300, "x" * 70_000,
]  # fmt: skip
BYTES = [b"\xff\xfe", bytes(range(256)), b"\x0c\0\0\0", b"\0" * 12, b"\xff" * 12, b"\1\0\0\0\1\0\0\0\xff\xff\xff\xffkv"]
NASTY: list[Word] = [*NUMBERS, *TEXTS, *BYTES]


def module_commands(server: Server, module: str) -> list[str]:
    return sorted(name.decode() for name in ask(server, "COMMAND", "LIST", "FILTERBY", "MODULE", module))


@pytest.fixture
def dice() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def draw(dice: random.Random, names: Sequence[str], vocabulary: Sequence[Word]) -> list[Word]:
    """A command with random arguments. The timeout of a wait is limited, because a wait may block."""
    name = dice.choice(names)
    words = [dice.choice(vocabulary) for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 12, 16, 40]))]
    if name in {"member.wait", "member.view", "chain.wait", "chain.wait.any"} and words:
        words = [words[0], "10", *words[1:]]
    return [name, *words]


def survive(talk: Talk, commands: Iterable[Sequence[Word]]) -> None:
    """Send all commands, which may have no answer. After each batch the connection must answer in time."""
    batch: list[Sequence[Word]] = []
    for number, words in enumerate(commands):
        batch.append(words)
        if len(batch) == BATCH:
            drain(talk, batch, number)
            batch = []
    drain(talk, batch, -1)


def drain(talk: Talk, batch: list[Sequence[Word]], number: int) -> None:
    token = b"batch %d" % number
    talk.send_all([*batch, ("ECHO", token)])
    while talk.receive() != token:
        pass


def proven_talk(server: Server, view: View, own_run_id: str = OWN_RUN_ID) -> Talk:
    return Talk.over(server, proven(server, view, own_run_id))


def untouched(cluster: Cluster, before: View) -> None:
    assert stored_view(cluster) == before
    for member in cluster.members:
        assert ask(member, "MEMBER.VIEW") == [before.epoch, *(str(each).encode() for each in before.members)]
    assert_serves(cluster)
    assert len({ask(member, "DEBUG", "DIGEST") for member in cluster.members}) == 1


def alive(*servers: Server) -> None:
    for server in servers:
        assert server.running
        assert ask(server, "PING") == b"PONG"
        assert isinstance(ask(server, "CHAIN.STATE"), list)
        assert isinstance(ask(server, "INFO", "everything"), bytes)
        with Talk(server) as talk:
            talk.send("MEMBER.PUT", "is it alive", "yes")
            talk.send("READ", "is it alive")
            talk.receive()
            talk.receive()


# ------------------------------------------------------------------------------------------------ strangers


def test_nonsense_from_strangers_changes_nothing(chain: StartChain, dice: random.Random) -> None:
    cluster = chain(3, member_config={"enable-debug-command": "yes"})
    before = stored_view(cluster)
    names = module_commands(cluster.head, "member")
    assert len(names) >= 18
    vocabulary: list[Word] = [*NASTY, before.history, before.head.run_id, before.tail.run_id, OWN_RUN_ID]
    for member in cluster.members:
        with Talk(member) as talk:
            survive(talk, (draw(dice, names, vocabulary) for _ in range(ROUNDS)))
    untouched(cluster, before)


def test_nonsense_at_a_server_without_a_chain(server: StartServer, dice: random.Random) -> None:
    alone = server(MEMBER, **{"member.write-timeout": "100"})
    names = module_commands(alone, "member")
    with Talk(alone) as talk:
        survive(talk, (draw(dice, names, NASTY) for _ in range(ROUNDS)))
    alive(alone)
    with Talk(alone) as talk:
        survive(talk, almost_views(dice, state(alone).run_id, 300))
    alive(alone)


def almost_views(dice: random.Random, run_id: str, count: int) -> Iterable[list[Word]]:
    """CHAIN.ADOPT and CHAIN.JOIN with views in which one or two fields are nonsense."""
    for _ in range(count):
        members = dice.choice([0, 1, 2, 3, 32, 33])
        words: list[Word] = ["0" * 32, "1" * 32, dice.randrange(9), dice.choice(["put", "all"]), members]
        for place in range(members):
            words += ["127.0.0.1", "127.0.0.1", 1, dice.choice([run_id, f"{place:040}"])]
        for _ in range(dice.randrange(1, 3)):
            words[dice.randrange(len(words))] = dice.choice(NASTY)
        yield [dice.choice(["chain.adopt", "chain.join"]), *words]


def test_nonsense_at_a_learner(chain: StartChain, server: StartServer, dice: random.Random) -> None:
    cluster = chain(1)
    learner = server(MEMBER)
    assert ask(learner, "CHAIN.JOIN", *stored_view(cluster).wire()) == b"OK"
    wait_until(lambda: state(learner).join == "copied", 20)  # Redis closes blocked clients when it begins to replicate
    names = module_commands(learner, "member")
    with Talk(learner) as talk:
        survive(talk, (draw(dice, names, NASTY) for _ in range(ROUNDS)))
    alive(learner)
    assert_serves(cluster)


def test_nonsense_at_the_master(chain: StartChain, dice: random.Random) -> None:
    cluster = chain(2)
    before = stored_view(cluster)
    names = module_commands(cluster.master, "master")
    operators = {"add", "remove", "form", "get_chain", "refresh_head", "refresh_tail"}
    assert {f"master.{name}" for name in operators} <= set(names)
    vocabulary = [word for word in NASTY if word not in {"x", "key", "EPOCH", "DISCARD"}]  # these might be host names
    with Talk(cluster.master, 60) as talk:
        survive(talk, (draw(dice, names, vocabulary) for _ in range(400)))
    assert stored_view(cluster) == before
    assert_serves(cluster)


def test_bytes_that_are_no_commands(chain: StartChain, dice: random.Random) -> None:
    """Members and the master get the bytes. Redis itself rejects most of them, and the modules must not weaken that."""
    cluster = chain(2)
    forward = b"*10\r\n$13\r\nCHAIN.FORWARD\r\n" + b"$1\r\n3\r\n" * 8 + b"$20\r\n"
    pieces = [
        b"*3\r\n$10\r\nMEMBER.PUT\r\n$1\r\n", b"*1\r\n$4\r\nREAD\r\n", b"*-1\r\n", b"*1000000000\r\n", b"$-5\r\n",
        b"*2\r\n$4\r\nREAD\r\n$900000000\r\n", b"\r\n", b"CHAIN.FORWARD 1 1 1 1 1 1 0 0 x\r\n",
        b"GET / HTTP/1.1\r\n\r\n", forward, b"\0\0\0",
    ]  # fmt: skip
    for _ in range(200):
        junk = b"".join(dice.choice([*pieces, dice.randbytes(50)]) for _ in range(dice.randrange(1, 6)))
        with Talk(dice.choice(cluster.servers)) as talk:
            talk.send_bytes(junk)
    alive(*cluster.members)
    assert_serves(cluster)


# ---------------------------------------------------------------------------------------------- proven peers


def valid(view: View, member: str) -> dict[str, list[Word]]:
    """Each internal command in a valid form; only its sender is wrong."""
    return {
        "chain.greet": [view.epoch, view.history, -1, 0],
        "chain.forward": [view.epoch, view.epoch, 0, 1, -1, 0, 0, b"\1\0\0\0\1\0\0\0\xff\xff\xff\xffkv"],
        "chain.ack": [view.epoch, -1, 0, 0],
        "chain.poll": [view.epoch, 1, 1],
        "chain.adopt": [*view.wire()],
        "chain.join": [*view.wire()],
        "chain.rejoin": [*view.wire()],
        "chain.pin": [0, 1],
        "chain.feed": ["127.0.0.1", "127.0.0.1", 1, member],
        "chain.unpin": [],
        "chain.state": [],
    }


def with_nonsense_in_every_field(commands: dict[str, list[Word]], vocabulary: Sequence[Word]) -> Iterable[list[Word]]:
    for name, words in commands.items():
        yield [name, *words]
        for place in range(len(words)):
            for nasty in vocabulary:
                yield [name, *words[:place], nasty, *words[place + 1 :]]


def test_nonsense_in_every_field_from_a_proven_stranger_changes_nothing(chain: StartChain) -> None:
    """The peer has proved the secret but is not in the view. Newer epochs are left out, because they fence rightly."""
    cluster = chain(3, member_config={"enable-debug-command": "yes"})
    before = stored_view(cluster)
    harmless = [word for word in NASTY if not (isinstance(word, str) and word.strip("0 +").isdigit() and int(word) > 3)]
    for member in cluster.members:
        with proven_talk(member, before) as talk:
            survive(talk, with_nonsense_in_every_field(valid(before, OWN_RUN_ID), harmless))
            assert talk("CHAIN.UNPIN") == b"OK"
    untouched(cluster, before)


@pytest.mark.parametrize("who", ["stranger", "head", "middle", "tail"])
def test_a_proven_liar_crashes_nobody(chain: StartChain, dice: random.Random, who: str) -> None:
    """The liar poses as each member and sends any epoch, any sn and any payload to each member."""
    cluster = chain(3, member_config={"member.write-timeout": "100"})
    view = stored_view(cluster)
    names = {"head": view.head.run_id, "middle": view.members[1].run_id, "tail": view.tail.run_id}
    vocabulary: list[Word] = [*NASTY, view.history, view.secret, view.epoch, *names.values()]
    commands = valid(view, OWN_RUN_ID)
    left_out = {"chain.challenge", "chain.prove", "chain.watch"}  # they begin a new proof, or block
    internal = [name for name in module_commands(cluster.head, "member") if name.startswith("chain.")]
    internal = [name for name in internal if name not in left_out]
    for member in cluster.members:
        with proven_talk(member, view, names.get(who, OWN_RUN_ID)) as talk:
            survive(talk, (mutated(dice, commands, vocabulary) for _ in range(ROUNDS // 2)))
            survive(talk, (draw(dice, internal, vocabulary) for _ in range(ROUNDS // 2)))
            survive(talk, payloads(dice, view))
            assert "has not proved" not in str(talk("CHAIN.UNPIN"))
    alive(*cluster.members)


def mutated(dice: random.Random, commands: dict[str, list[Word]], vocabulary: Sequence[Word]) -> list[Word]:
    """Valid commands with up to two fields replaced."""
    name = dice.choice(list(commands))
    words = list(commands[name])
    for _ in range(dice.randrange(3)):
        if words:
            words[dice.randrange(len(words))] = dice.choice(vocabulary)
    return [name, *words]


def payloads(dice: random.Random, view: View) -> Iterable[list[Word]]:
    """A greeting in the right epoch, followed by updates with wrong lengths."""
    yield ["chain.greet", view.epoch, view.history, 1000, view.epoch]
    lengths = [0, 1, 2, 12, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF]
    for _ in range(500):
        count = dice.choice([0, 1, 1, 2, 3, -1, 2**62])
        body = b"".join(
            b"".join(dice.choice(lengths).to_bytes(4, "little") for _ in range(3)) + dice.randbytes(dice.randrange(4))
            for _ in range(dice.randrange(4))
        )
        yield ["chain.forward", view.epoch, view.epoch, dice.randrange(3), count, dice.randrange(3), 1000, 0, body]


def test_wrong_proofs(chain: StartChain, dice: random.Random) -> None:
    """Any proof but the right one fails. A challenge allows one attempt, and is not valid on another connection."""
    cluster = chain(2)
    view = stored_view(cluster)
    with Talk(cluster.head) as talk, proven_talk(cluster.head, view) as other:
        for _ in range(200):
            talk("CHAIN.CHALLENGE", dice.randbytes(16).hex())
            proof: Word = dice.choice([dice.randbytes(32).hex(), "", "0" * 64, "\0" * 64, view.secret * 2])
            assert isinstance(talk("CHAIN.PROVE", proof, OWN_RUN_ID), Error)
            assert isinstance(talk("CHAIN.PROVE", proof, OWN_RUN_ID), Error)
        assert isinstance(talk("CHAIN.ADOPT", *view.wire()), Error)
        assert other("CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
        assert isinstance(talk("CHAIN.ADOPT", *view.wire()), Error)
    assert_serves(cluster)


def test_more_connections_of_members_than_there_is_room_for(chain: StartChain) -> None:
    """Unproven connections are replaced, so that they cannot lock members out."""
    cluster = chain(2)
    talks = [Talk(cluster.tail) for _ in range(200)]
    for talk in talks:
        assert len(talk("CHAIN.CHALLENGE", "0" * 32)) == 3
    assert_serves(cluster)
    cluster.grow()
    assert_serves(cluster)
    for talk in talks:
        talk.close()


def test_a_learner_that_does_not_exist_bounds_the_log(chain: StartChain) -> None:
    """A proven connection pins the log and orders feeding, and then only waits: member.join-limit bounds the log."""
    cluster = chain(2, member_config={"member.join-limit": "1mb", "member.backlog-limit": "0"})
    with proven_talk(cluster.tail, stored_view(cluster)) as master:
        assert master("CHAIN.PIN") == 0
        assert master("CHAIN.FEED", "127.0.0.1", "127.0.0.1", 1, OWN_RUN_ID) == b"OK"
        with Talk(cluster.head) as talk:
            for _ in range(30):
                talk.pipeline([("MEMBER.PUT", "key", "x" * 100_000, "me")] * 10)
        assert_serves(cluster)
        assert state(cluster.tail).pinned == -1
        assert isinstance(master("CHAIN.FEED", "127.0.0.1", "127.0.0.1", 1, OWN_RUN_ID), Error)
    cluster.grow()
    assert_serves(cluster)


def test_both_modules_take_each_other_s_nonsense(server: StartServer, dice: random.Random) -> None:
    both = server(MASTER, MEMBER)
    names = [*module_commands(both, "member"), "master.get_chain", "master.refresh_head", "master.refresh_tail"]
    with Talk(both) as talk:
        survive(talk, (draw(dice, names, NASTY) for _ in range(1_000)))
    alive(both)
