# SPDX-License-Identifier: Apache-2.0
"""The master's conclusion from each way in which a server can fail to be a member."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from chainredis.coordinator.member_session import PollSession
from chainredis.coordinator.probe import reach
from chainredis.coordinator.runtime import Runtime
from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import HOST
from chainredis.protocol.errors import MemberError, NotAMember, OtherProcess, Refused, Rejected, Silent
from chainredis.protocol.view import Endpoint, Member
from chainredis.transport.addresses import Addresses
from chainredis.transport.member_client import RedisLink
from chainredis.transport.member_state import MemberState
from chainredis.transport.settings import Credentials, Settings
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import stored_view

OWN_RUN_ID = "f" * 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, OWN_RUN_ID, 1, connect_timeout_s=0.5, answer_timeout_s=0.5)


@contextmanager
def listener(answer: bytes | None) -> Iterator[Endpoint]:
    """A port that accepts connections and replies `answer` to any command; None: it closes connections at once."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        while answer is not None and (received := connection.recv(4096)):
                            connection.sendall(answer * received.count(b"*"))
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint(HOST, listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def failure(endpoint: Endpoint, settings: Settings) -> MemberError:
    with pytest.raises(MemberError) as caught:
        ask(endpoint, settings)
    return caught.value


def ask(endpoint: Endpoint, settings: Settings) -> MemberState:
    with closing(RedisLink(endpoint, settings)) as link:
        return link.state()


def test_a_closed_port_refuses(server: StartServer, settings: Settings) -> None:
    one = server(MEMBER)
    one.kill()
    assert isinstance(failure(one.endpoint, settings), Refused)


def test_a_server_that_hangs_is_silent(server: StartServer, settings: Settings) -> None:
    one = server(MEMBER)
    one.pause()
    assert isinstance(failure(one.endpoint, settings), Silent)


def test_a_listener_that_hangs_up_is_silent(settings: Settings) -> None:
    with listener(None) as endpoint:
        assert isinstance(failure(endpoint, settings), Silent)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n\r\n", b"+OK\r\n", b"*1\r\n:5\r\n", b"*1\r\n$1\r\nx\r\n"])
def test_something_else_answers(answer: bytes, settings: Settings) -> None:
    with listener(answer) as endpoint:
        assert isinstance(failure(endpoint, settings), NotAMember)


def test_a_server_without_the_module(server: StartServer, settings: Settings) -> None:
    one = server()
    error = failure(one.endpoint, settings)
    assert isinstance(error, NotAMember)
    assert "without libmember.so" in str(error)
    assert error.run_id == one.client().info("server")["run_id"]


def test_credentials(server: StartServer, settings: Settings) -> None:
    one = server(MEMBER, requirepass="secret")
    assert isinstance(failure(one.endpoint, settings), Rejected)
    wrong = Settings(settings.state_dir, OWN_RUN_ID, 1, credentials=lambda: Credentials(password="wrong"))
    assert "refuses the login" in str(failure(one.endpoint, wrong))
    right = Settings(settings.state_dir, OWN_RUN_ID, 1, credentials=lambda: Credentials(password="secret"))
    assert ask(one.endpoint, right).role == "alone"
    named = Settings(settings.state_dir, OWN_RUN_ID, 1, credentials=lambda: Credentials("default", "secret"))
    assert ask(one.endpoint, named).role == "alone"


def test_login_and_unholding_are_one_write(settings: Settings) -> None:
    """A gate that saw the login alone would hold its reply, and a stalled chain would hold its own master's."""
    with socket.create_server((HOST, 0)) as listening:
        endpoint = Endpoint(HOST, listening.getsockname()[1])
        login = Settings(settings.state_dir, OWN_RUN_ID, 1, credentials=lambda: Credentials("me", "secret"))
        errors: list[MemberError] = []
        thread = threading.Thread(target=lambda: errors.append(failure(endpoint, login)))
        thread.start()
        connection, _ = listening.accept()
        with connection:
            first = connection.recv(4096)
        thread.join(10)
    assert [word for word in first.split(b"\r\n") if word.isupper() or word.islower()] == [
        b"AUTH", b"me", b"secret", b"MEMBER.UNHELD", b"CLIENT", b"NO-EVICT", b"ON",
    ]  # fmt: skip
    assert errors



@pytest.mark.parametrize(("commands", "is_refused"), [("put", False), ("all", True)])
def test_a_master_that_may_not_leave_the_gate(
    server: StartServer, settings: Settings, commands: str, is_refused: bool
) -> None:
    one = server(MEMBER, **{"member.commands": commands})
    rules = ("on", ">secret", "resetchannels", "-@all", "+chain.state")
    assert one.call("ACL", "SETUSER", "master", *rules) == b"OK"
    login = Settings(settings.state_dir, OWN_RUN_ID, 1, credentials=lambda: Credentials("master", "secret"))
    if is_refused:
        assert "member.unheld" in str(failure(one.endpoint, login)).lower()
        one.call("ACL", "SETUSER", "master", "+member.unheld")
    assert ask(one.endpoint, login).role == "alone"


def test_a_restarted_process_is_not_the_member(server: StartServer, settings: Settings) -> None:
    one = server(MEMBER)
    run_id = ask(one.endpoint, settings).run_id
    member = Member(HOST, HOST, one.port, run_id)

    def dial(endpoint: Endpoint) -> RedisLink:
        return RedisLink(endpoint, settings)

    assert reach(dial, member)[1].run_id == run_id
    one.kill()
    one.start()
    with pytest.raises(OtherProcess):
        reach(dial, member)


def test_only_who_knows_the_secret_is_the_member(chain: StartChain, settings: Settings) -> None:
    cluster = chain(1)
    view = stored_view(cluster)
    RedisLink(cluster.head.endpoint, settings).prove(view.secret, view.head.run_id)
    with pytest.raises(Rejected):
        RedisLink(cluster.head.endpoint, settings).prove("0" * 32, view.head.run_id)
    with pytest.raises(OtherProcess):
        RedisLink(cluster.head.endpoint, settings).prove(view.secret, "0" * 40)
    unproven = RedisLink(cluster.head.endpoint, settings)
    with pytest.raises(Rejected):
        unproven.adopt(view)
    assert unproven.state().role == "singleton"


def test_an_announced_view_is_answered_in_its_turn(chain: StartChain, settings: Settings) -> None:
    """Whatever the thread that uses the link does next; and its thread is not disturbed while it waits for a reply."""
    cluster = chain(1)
    view = stored_view(cluster)
    head = view.head
    conflicting = replace(view, members=(replace(head, host="elsewhere"),))
    with closing(RedisLink(cluster.head.endpoint, settings)) as link:
        link.announce(view)  # refused: nothing is proven yet
        link.prove(view.secret, head.run_id)
        link.announce(view)
        link.adopt(view)
        link.announce(conflicting)
        assert link.state().run_id == head.run_id
        link.announce(conflicting)
        link.adopt(view)
        waiting = threading.Thread(target=lambda: failing(link.watch))
        waiting.start()
        wait_until(lambda: is_in_use(link), 10)
        link.announce(view)
        assert link._announced is None
        link.interrupt()
        waiting.join(10)
    with closing(RedisLink(cluster.head.endpoint, settings)) as link:
        link.interrupt()
        link.announce(view)
        with pytest.raises(Silent):
            link.adopt(view)
    with closing(RedisLink(cluster.head.endpoint, settings)) as link:
        link._connection._sock.shutdown(socket.SHUT_WR)
        link.announce(view)  # fails, and closes the connection
        with pytest.raises(Silent):
            link.adopt(view)


@pytest.mark.parametrize(
    "answer",
    [b"$2000000000\r\n" + b"x" * 100_000, b"+" + b"x" * 20_000_000, b"*2000000000\r\n" + b":1\r\n" * 5_000_000],
    ids=["string", "line", "list"],
)
def test_an_answer_without_end_is_not_taken(settings: Settings, answer: bytes) -> None:
    """Whoever listens at a member's address could fill the master's memory."""
    with listener(answer) as endpoint:
        found = failure(endpoint, settings)
    assert isinstance(found, NotAMember)
    assert "what answers there is no Redis server" in str(found)


def failing(call: Callable[[], object]) -> None:
    with pytest.raises(MemberError):
        call()


def is_in_use(link: RedisLink) -> bool:
    is_free = link._in_use.acquire(blocking=False)
    if is_free:
        link._in_use.release()
    return not is_free


@pytest.mark.parametrize("answer", [b"*2\r\n$6\r\nrun_id\r\n$40\r\n", b""])
def test_a_new_master_waits_for_no_answer_of_which_only_a_part_comes(tmp_path: Path, answer: bytes) -> None:
    """The answers of the other members are taken after that one."""
    patient = Settings(tmp_path, OWN_RUN_ID, 1, answer_timeout_s=600)
    with socket.create_server((HOST, 0)) as listening:
        endpoint = Endpoint(HOST, listening.getsockname()[1])
        link, connection = accepted(listening, lambda: RedisLink(endpoint, patient))
        with connection:
            poll = standing_session(endpoint, link)
            poll.ask()
            connection.sendall(answer)
            hearing = threading.Thread(target=poll.hear, args=(0.02,))
            hearing.start()
            hearing.join(30)
            is_over = not hearing.is_alive()
        hearing.join(10)
    assert is_over
    assert poll._standing is None


def test_a_new_master_connects_to_nobody_before_it_has_heard_the_others(settings: Settings) -> None:
    """A link that was found closed when the question was sent is made anew by the thread of its session."""
    with socket.create_server((HOST, 0)) as listening:
        endpoint = Endpoint(HOST, listening.getsockname()[1])
        link, connection = accepted(listening, lambda: RedisLink(endpoint, settings))
        with connection:
            link._connection._sock.shutdown(socket.SHUT_WR)
            poll = standing_session(endpoint, link)
            poll.ask()
            poll.hear(0.02)
            listening.settimeout(0)
            with pytest.raises(BlockingIOError):
                listening.accept()
    assert poll._standing is None


def accepted(listening: socket.socket, dial: Callable[[], RedisLink]) -> tuple[RedisLink, socket.socket]:
    """A link, and the other side of it, which has answered its beginning."""
    links: list[RedisLink] = []
    dialling = threading.Thread(target=lambda: links.append(dial()))
    dialling.start()
    connection, _ = listening.accept()
    assert connection.recv(4096).count(b"*") == 2
    connection.sendall(b"+OK\r\n+OK\r\n")
    dialling.join(10)
    return links[0], connection


def standing_session(endpoint: Endpoint, link: RedisLink) -> PollSession:
    runtime = cast("Runtime", SimpleNamespace(now=lambda: 0.0, answered=lambda *_: None))
    member = Member(endpoint.host, endpoint.host, endpoint.port, "a" * 40)
    return PollSession(member, runtime, Addresses(lambda host: host), lambda _: link, link)
