# SPDX-License-Identifier: Apache-2.0
"""`chainredis add`, `remove` and `form`: the MASTER commands, at the master that leads."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainredis.cli.addresses import add_login, address, credentials, tls_of
from chainredis.protocol.errors import OperatorError, Silent
from chainredis.protocol.view import Endpoint
from chainredis.transport.settings import Credentials
from chainredis.transport.tls import Tls, TlsConnection

CONNECT_TIMEOUT_S = 2.0
MOST_MOVES = 5  # masters that a change is sent on to


def register(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    for name, subject in (
        ("add", "add a server to a chain, as its new tail: the server copies the data, or gets what it missed"),
        ("remove", "take a member out of a chain, which goes on without it"),
        ("form", "make a surviving member the whole chain, when those that have newer data are lost for good"),
    ):
        parser = add_parser(name, help=subject)
        parser.add_argument("master", type=address, metavar="MASTER_HOST:PORT", help="any master of the chain")
        parser.add_argument("server", type=address, metavar="HOST:PORT", help="the server that is meant")
        add_login(parser)
        parser.set_defaults(call=partial(change, f"MASTER.{name.upper()}"))
        if name == "add":
            parser.add_argument("--adopt", action="store_true", help="the server's data begins a new chain")


def change(command: str, options: argparse.Namespace) -> None:
    """Returns when the change is done, which takes as long as a copy.

    OperatorError if the master refuses it, Silent if it does not answer, or did not to the end.
    """
    words = [command, options.server.host, str(options.server.port)]
    if getattr(options, "adopt", False):
        words.append("ADOPT")
    print(_at_the_leader(options.master, credentials(options), tls_of(options), words))


def _at_the_leader(master: Endpoint, login: Credentials, tls: Tls | None, words: list[str]) -> str:
    for _ in range(MOST_MOVES):
        try:
            with _client(master, login, tls) as client:
                return str(client.execute_command(*words))
        except redis.exceptions.MovedError as error:
            master = Endpoint(error.host, error.port)
        except redis.ResponseError as error:
            raise OperatorError(str(error)) from error
        except redis.RedisError as error:
            raise Silent(f"{master}: {error}. If it was asked, `status` shows whether it is done") from error
    raise OperatorError("the masters do not agree on which of them leads: try again")


def _client(master: Endpoint, login: Credentials, tls: Tls | None) -> redis.Redis:
    """A change is not repeated by itself, and may take any time."""
    secured: dict[str, Any] = {"connection_class": TlsConnection, "tls": tls} if tls else {}
    pool = redis.ConnectionPool(
        host=master.host, port=master.port, username=login.user or None, password=login.password or None,
        decode_responses=True, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=None,
        retry=Retry(NoBackoff(), 0), **secured,
    )  # fmt: skip
    return redis.Redis.from_pool(pool)
