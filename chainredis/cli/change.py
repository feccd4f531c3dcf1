# SPDX-License-Identifier: Apache-2.0
"""`chainredis add`, `remove` and `form`: the MASTER commands, at the master that leads."""

import argparse
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainredis.cli.addresses import add_login, address, credentials, tls_of
from chainredis.cli.subcommands import AddParser
from chainredis.protocol.errors import NotAMember, OperatorError, Silent
from chainredis.protocol.view import Endpoint
from chainredis.transport.member_client import explained
from chainredis.transport.settings import Credentials
from chainredis.transport.tls import Tls, TlsConnection

CONNECT_TIMEOUT_S = 2.0
MOST_MOVES = 5  # masters that a change is sent on to


def register(add_parser: AddParser) -> None:
    for name, subject in (
        ("add", "add a server to a chain, as its new tail: the server copies the data, or gets what it missed"),
        ("remove", "take a member out of a chain, which goes on without it"),
        ("form", "make one member the whole chain, without all others: when those with newer data are lost for good"),
    ):
        parser = add_parser(name, help=subject)
        parser.add_argument("master", type=address, metavar="MASTER_HOST:PORT", help="any master of the chain")
        parser.add_argument("server", type=address, metavar="HOST:PORT", help="the server that is meant")
        add_login(parser)
        parser.set_defaults(call=partial(change, f"MASTER.{name.upper()}"))
        if name == "add":
            _register_existing_data(parser)


def _register_existing_data(parser: argparse.ArgumentParser) -> None:
    """What may become of the data that the server has of its own."""
    data = parser.add_mutually_exclusive_group()
    for words, meaning in (
        ("discard", "the server's own data may be thrown away"),
        ("adopt", "the server's data, a backup of another chain, begins this one"),
        ("adopt incomplete", "likewise, though keys that were flushed may be missing"),
    ):
        data.add_argument(
            f"--{words.replace(' ', '-')}", dest="existing_data", action="store_const", const=words.upper().split(),
            default=[], help=meaning,
        )  # fmt: skip


def change(command: str, options: argparse.Namespace) -> None:
    """Returns when the change is done, which takes as long as a copy.

    OperatorError if the master refuses it, MemberError if it cannot be asked, or did not answer to the end.
    """
    words = [command, options.server.host, str(options.server.port), *getattr(options, "existing_data", [])]
    print(_at_the_leader(options.master, credentials(options), tls_of(options), words))


def _at_the_leader(master: Endpoint, login: Credentials, tls: Tls | None, words: list[str]) -> str:
    for _ in range(MOST_MOVES):
        try:
            return _answer(master, login, tls, words)
        except redis.exceptions.MovedError as error:
            master = Endpoint(error.host, error.port)
    raise OperatorError("the masters do not agree on which of them leads: try again")


def _answer(master: Endpoint, login: Credentials, tls: Tls | None, words: list[str]) -> str:
    """MovedError if another master leads."""
    try:
        client = _connected(master, login, tls)
    except redis.RedisError as error:
        raise explained(error, master, login) from error
    with client:
        try:
            return str(client.execute_command(*words))  # type: ignore[no-untyped-call]
        except redis.exceptions.MovedError:
            raise
        except redis.ResponseError as error:
            if str(error).startswith("unknown command"):
                raise NotAMember(f"{master}: is a server without libmaster.so: name a master of the chain") from error
            raise OperatorError(str(error)) from error
        except redis.RedisError as error:
            failure = explained(error, master, login)
            if isinstance(failure, Silent):
                raise Silent(f"{failure}; `status` shows whether it is done") from error
            raise failure from error


def _connected(master: Endpoint, login: Credentials, tls: Tls | None) -> redis.Redis:
    """A change is not repeated by itself, and may take any time."""
    secured: dict[str, Any] = {"connection_class": TlsConnection, "tls": tls} if tls else {}
    pool = redis.ConnectionPool(
        host=master.host, port=master.port, username=login.user or None, password=login.password or None,
        decode_responses=True, protocol=2, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=None,
        retry=Retry(NoBackoff(), 0), **secured,
    )  # fmt: skip
    return redis.Redis(connection_pool=pool, single_connection_client=True)
