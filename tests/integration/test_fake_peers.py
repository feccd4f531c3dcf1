# SPDX-License-Identifier: Apache-2.0
"""A neighbour that is not a member, or a member that lies: no answer of it may harm the server that asked.

The server under test gets a view in which the liar is its neighbour, so that it makes a link to the liar by itself.
"""

import contextlib
import hashlib
import hmac
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import HOST, free_port
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member, View
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Error, Talk, ask, info, proven, state

SECRET, HISTORY = "5" * 32, "7" * 32
LIAR_RUN_ID = "a" * 40
UNHELD_AND_EXEMPT = b"-ERR unknown command 'MEMBER.UNHELD'\r\n+OK\r\n"  # to MEMBER.UNHELD and CLIENT NO-EVICT ON

Serve = Callable[[socket.socket], None]


# ----------------------------------------------------------------------------------------------- the liar


def swallow(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def reply(*items: bytes | int) -> bytes:
    parts = [b":%d\r\n" % item if isinstance(item, int) else b"$%d\r\n%b\r\n" % (len(item), item) for item in items]
    return b"*%d\r\n" % len(items) + b"".join(parts)


def prove(connection: socket.socket, secret: str = SECRET, run_id: str = LIAR_RUN_ID) -> None:
    """Answer as a member that knows the secret, without a check of the server's own proof."""
    received = answer_challenge(connection, secret, run_id)
    while b"CHAIN.PROVE" not in received:
        received += _some(connection)
    connection.sendall(b"+OK\r\n")


def answer_challenge(connection: socket.socket, secret: str = SECRET, run_id: str = LIAR_RUN_ID) -> bytes:
    """Returns what was received until then."""
    received = b""
    while not (found := re.search(rb"CHALLENGE\r\n\$32\r\n([0-9a-f]{32})\r\n", received)):
        received += _some(connection)
    nonce, own = found[1].decode(), "1" * 32
    text = f"answer{nonce}{own}{run_id}".encode()
    proof = hmac.new(bytes.fromhex(secret), text, hashlib.sha256).hexdigest()
    connection.sendall(UNHELD_AND_EXEMPT + reply(own.encode(), run_id.encode(), proof.encode()))
    return received


def _some(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionError
    return received


def says(junk: bytes) -> Serve:
    """Send `junk` at once, before any command."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(junk)
        swallow(connection)

    return serve


def says_when_asked(junk: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(junk)

    return serve


def says_when_proven(junk: bytes, times: int = 1) -> Serve:
    def serve(connection: socket.socket) -> None:
        prove(connection)
        for _ in range(times):
            connection.sendall(junk)
        swallow(connection)

    return serve


def floods(connection: socket.socket) -> None:
    connection.sendall(b"$2000000000\r\n")
    for _ in range(2_000):
        connection.sendall(b"x" * 100_000)


def closes_when_proven(connection: socket.socket) -> None:
    prove(connection)


@contextlib.contextmanager
def liar(serve: Serve) -> Iterator[tuple[int, list[socket.socket]]]:
    """The liar's port and the list of its connections, which grows. All are closed at the end."""
    connections: list[socket.socket] = []
    # Not a port of the range for outgoing connections: a link that retries could at last connect to itself.
    with socket.create_server((HOST, free_port())) as listening:

        def work(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.settimeout(20)
                connections.append(connection)
                threading.Thread(target=work, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listening.getsockname()[1]), connections
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def stale(*view: bytes) -> bytes:
    return reply(b"STALE", *view)


AT_ONCE = {
    "ok": b"+OK\r\n", "error": b"-ERR no\r\n", "zeros": b"\0" * 5000, "negative-list": b"*-5\r\n",
    "negative-string": b"$-7\r\n", "huge-list": b"*2147483647\r\n", "huger-list": b"*4294967295\r\n",
    "nested-lists": b"*1\r\n" * 5000, "huge-nested-lists": b"*2000000000\r\n" * 8, "no-number": b":\r\n",
    "http": b"HTTP/1.1 200 OK\r\n\r\n", "empty-list": reply(), "texts": reply(b"a", b"b", b"c"),
    "wrong-texts": reply(b"1" * 32, b"2" * 40, b"3" * 64), "long-line": b"+" + b"x" * 100_000,
    "huge-string": b"$1000000000\r\n", "resp3-map": b"%1\r\n+a\r\n+b\r\n", "resp3-null": b"_\r\n",
    "resp3-double": b",nan\r\n", "resp3-number": b"(1\r\n", "resp3-text": b"=4\r\ntxt:\r\n",
    "resp3-push": b">1\r\n+x\r\n",
}  # fmt: skip

TO_EVERYTHING = {
    "ok": b"+OK\r\n", "error": b"-ERR unknown command\r\n", "noauth": b"-NOAUTH\r\n", "loading": b"-LOADING\r\n",
    "nil": b"$-1\r\n", "number": b":5\r\n", "numbers": reply(1, 2, 3),
}  # fmt: skip

HIS, OURS = HISTORY.encode(), SECRET.encode()
NODE = (b"h", b"127.0.0.1", b"1", b"b" * 40)
ENDS_SERVICE = "behind-all-epochs"

WHEN_PROVEN = {
    "empty-list": b"*0\r\n", "nil-list": b"*-1\r\n", "nil": b"$-1\r\n", "number": b":9\r\n", "numbers": reply(1),
    "empty-text": reply(b""), "other": reply(b"NONSENSE", 1, 2, 3, 4), "huge-list": b"*2147483647\r\n",
    "welcome-alone": reply(b"WELCOME"), "welcome-texts": reply(b"WELCOME", b"x", b"y", b"z", b"a"),
    "welcome-lists": b"*5\r\n$7\r\nWELCOME\r\n" + b"*1\r\n:1\r\n" * 4, "nested": b"*1\r\n" * 8 + b":1\r\n",
    "behind-alone": reply(b"BEHIND"), "behind-0": reply(b"BEHIND", 0), "behind-negative": reply(b"BEHIND", -1),
    "behind-text": reply(b"BEHIND", b"x"), ENDS_SERVICE: reply(b"BEHIND", 2**63 - 1),
    "stale-alone": reply(b"STALE"), "stale-text": stale(b"x"), "stale-status": b"+STALE\r\n" * 100,
    "stale-empty": stale(HIS, OURS, b"9", b"put", b"0"), "stale-many": stale(HIS, OURS, b"9", b"put", b"99999999999"),
    "stale-texts": stale(*[b"x"] * 200), "stale-other-secret": stale(HIS, b"0" * 32, b"9", b"put", b"1", *NODE),
    "stale-other-history": stale(b"0" * 32, OURS, b"9", b"put", b"1", *NODE),
    "stale-old": stale(HIS, OURS, b"1", b"put", b"1", *NODE),
    "regreet": reply(b"REGREET"), "regreet-twice": reply(b"REGREET", b"REGREET"),
    "adopted": reply(b"ADOPTED", 2, 2), "adopted-nonsense": reply(b"ADOPTED", 2**63 - 1, -5),
}  # fmt: skip

WELCOMES = {
    "right": (2, HISTORY, -1, 0), "below-all": (2, HISTORY, -2, 0), "above-all": (2, HISTORY, 2**63 - 1, 0),
    "least": (2, HISTORY, -(2**63), 0), "other-epoch-of-0": (2, HISTORY, 0, 5), "ahead": (2, HISTORY, 5, 1),
    "later": (3, HISTORY, -1, 0), "earlier": (1, HISTORY, -1, 0), "negative-epoch": (-1, HISTORY, -1, 0),
    "other-history": (2, "0" * 32, -1, 0), "no-history": (2, "x", -1, 0),
}  # fmt: skip

ANSWERS: dict[str, Serve] = {
    "closes": lambda _: None,
    "is-silent": swallow,
    "floods": floods,
    "closes-when-proven": closes_when_proven,
    "is-silent-when-proven": says_when_proven(b""),
    "has-another-secret": lambda connection: prove(connection, secret="0" * 32),
    "is-another-process": lambda connection: prove(connection, run_id="b" * 40),
    "says-thousands-of-things": says_when_proven(reply(b"REGREET"), 50_000),
    **{f"says-{name}": says(junk) for name, junk in AT_ONCE.items()},
    **{f"answers-{name}": says_when_asked(junk) for name, junk in TO_EVERYTHING.items()},
    **{f"proven-{name}": says_when_proven(junk) for name, junk in WHEN_PROVEN.items()},
    **{
        f"welcomes-{name}": says_when_proven(reply(b"WELCOME", epoch, history.encode(), applied, assigned))
        for name, (epoch, history, applied, assigned) in WELCOMES.items()
    },
}


# ----------------------------------------------------------------------------------- the server under test


def view_with(server: Server, port: int, place: int, epoch: int) -> View:
    """A view of two members, with the liar at `place`."""
    members = [Member(HOST, HOST, server.port, state(server).run_id)]
    members.insert(place, Member(HOST, HOST, port, LIAR_RUN_ID))
    return View(HISTORY, epoch, tuple(members), SECRET)


def assert_unharmed(victim: Server) -> None:
    """Assert that the server answers at once, and has committed nothing through such a neighbour."""
    assert victim.running
    with Talk(victim, 5) as talk:
        assert talk("PING") == b"PONG"
        assert isinstance(talk("MEMBER.VIEW"), list)
        assert isinstance(talk("INFO", "everything"), bytes)
        answer = talk("MEMBER.PUT", "k", "v")
        assert isinstance(answer, Error) and answer.startswith(("UNKNOWN ", "ERR ", "MOVED ")), answer
        answer = talk("READ", "k")
        assert answer is None or isinstance(answer, (Error, bytes))
    assert int(info(victim, "memory")["used_memory"]) < 64 << 20


def await_hanging_up(victim: Server, link: str) -> None:
    """Wait until the link to the liar, which has gone, has ended and has freed what it received."""
    wait_until(lambda: info(victim, "member")[f"member_link_{link}"] in {"down", "none"}, 10)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all liars: no liar may leave a trace that has an effect on the next."""
    config = {"member.write-timeout": "1", "member.commands": "put"}
    one = Server(tmp_path_factory.mktemp("victim"), modules=[MEMBER], config=config)
    one.start()
    yield one
    one.stop()
    assert one.complaints() == []


def take_over(victim: Server, port: int, place: int) -> None:
    """Let the server adopt a next view in which the liar is its neighbour.

    The server is restarted first if a liar before has told it of a newer epoch.
    """
    seen = info(victim, "member")
    if seen["member_newest_epoch"] != seen["member_epoch"]:
        victim.kill()
        victim.start()
    now = state(victim)
    view = view_with(victim, port, place, now.epoch + 2)
    if now.role == "alone":
        assert ask(victim, "CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
        return
    # The view in between has the server alone. All liars claim to be the same process, so a link would be kept.
    itself = view.members[1 - place]
    link = proven(victim, view)
    link.adopt(replace(view, epoch=now.epoch + 1, members=(itself,)))
    if place == 1:  # a tail accepts only a successor that it feeds
        link.pin()
        link.feed(view.tail)
    link.adopt(view)
    link.close()


@pytest.mark.parametrize(("place", "link"), [(1, "down"), (0, "up")], ids=["successor", "predecessor"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_neighbour_that_lies(victim: Server, name: str, place: int, link: str) -> None:
    with liar(ANSWERS[name]) as (port, connections):
        take_over(victim, port, place)
        wait_until(lambda: bool(connections), 10)
        assert_unharmed(victim)
    await_hanging_up(victim, link)
    assert_unharmed(victim)


def test_what_there_is_to_say_follows_the_proof_at_once(victim: Server) -> None:
    """The successor that has proved the secret has not answered yet whether it takes the proof of this side."""
    is_greeted = threading.Event()

    def listens(connection: socket.socket) -> None:
        received = answer_challenge(connection)
        while b"CHAIN.GREET" not in received:
            received += _some(connection)
        is_greeted.set()

    with liar(listens) as (port, _):
        take_over(victim, port, 1)
        assert is_greeted.wait(10)
    await_hanging_up(victim, "down")


@pytest.mark.parametrize(("understands", "arguments"), [(b"+OK TERSE\r\n", 3), (b"+OK\r\n", 10)])
def test_a_successor_gets_messages_that_it_understands(
    server: StartServer, understands: bytes, arguments: int
) -> None:
    """One of an earlier version answers the proof with OK alone."""
    forms: list[int] = []

    def listens(connection: socket.socket) -> None:
        received = answer_challenge(connection)
        while not (greeting := re.search(rb"CHAIN.GREET\r\n\$\d+\r\n(\d+)\r\n\$32\r\n(\w+)\r\n", received)):
            received += _some(connection)
        connection.sendall(understands + reply(b"WELCOME", int(greeting[1]), greeting[2], -1, -1))
        while not (message := re.search(rb"\*(\d+)\r\n\$13\r\nCHAIN.FORWARD\r\n", received)):
            received += _some(connection)
        forms.append(int(message[1]))

    with liar(listens) as (port, _):
        take_over(server(MEMBER), port, 1)
        wait_until(lambda: bool(forms), 10)
    assert forms[0] == arguments


def test_a_learner_that_lies(server: StartServer) -> None:
    """A tail is told to feed the liar. Writes are committed without the liar, unless it tells of a newer epoch."""
    tail = server(MEMBER)
    view = View(HISTORY, 2, (Member(HOST, HOST, tail.port, state(tail).run_id),), SECRET)
    assert ask(tail, "CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
    expected = 0
    for name, serve in ANSWERS.items():
        if name in {f"proven-{ENDS_SERVICE}", "welcomes-later"}:
            continue
        with liar(serve) as (port, connections), Talk.over(tail, proven(tail, view)) as master:
            assert isinstance(master("CHAIN.PIN"), int), name
            assert master("CHAIN.FEED", HOST, HOST, port, LIAR_RUN_ID) == b"OK"
            wait_until(lambda connections=connections: bool(connections), 10)  # type: ignore[misc]
            for _ in range(3):
                assert ask(tail, "MEMBER.PUT", "k", expected) == expected, name
                expected += 1


def test_an_old_tail_that_floods_the_connection_of_a_copy(server: StartServer) -> None:
    """A learner copies over a connection of its own, whose other end may be anybody until it has proved the secret."""
    learner = server(MEMBER, **{"member.commands": "all"})
    is_first = threading.Lock()

    def serve(connection: socket.socket) -> None:
        if not is_first.acquire(blocking=False):
            floods(connection)
            return
        prove(connection)
        connection.sendall(reply(b"ALLOWED"))   # to the next command
        swallow(connection)

    with liar(serve) as (port, _):
        view = View(HISTORY, 2, (Member(HOST, HOST, port, LIAR_RUN_ID),), SECRET, Kind.ALL)
        assert ask(learner, "CHAIN.JOIN", *view.wire()) == b"OK"
        wait_until(lambda: state(learner).join == "failed", 20)
    assert "answer is too long" in state(learner).join_error
