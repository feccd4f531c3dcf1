# SPDX-License-Identifier: Apache-2.0
"""Arguments that name servers, and the login there."""

import argparse
import os
from pathlib import Path

from chainredis.protocol.errors import OperatorError
from chainredis.protocol.view import Endpoint, parse_endpoint
from chainredis.transport.settings import Credentials
from chainredis.transport.tls import Tls

PASSWORD = "REDISCLI_AUTH"  # noqa: S105 - the name of the variable, the same as that of redis-cli


def address(text: str) -> Endpoint:
    """HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    try:
        return parse_endpoint(host.encode(), port.encode())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT: {error}") from error


def add_login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", default="", help=f"to log in as; the password is taken from the variable {PASSWORD}")
    parser.add_argument("--tls", action="store_true", help="talk to all servers with TLS")
    for name, meaning in (
        ("cacert", "authorities to trust; without, those of this machine, and names are checked"),
        ("cert", "certificate to show"),
        ("key", "its key"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"with --tls: {meaning}")


def credentials(options: argparse.Namespace) -> Credentials:
    return Credentials(options.user, os.environ.get(PASSWORD, ""), source=f"--user and the variable {PASSWORD}")


def tls_of(options: argparse.Namespace) -> Tls | None:
    """None without --tls. OperatorError if a file cannot be used, or is given without --tls."""
    files = [str(file or "") for file in (options.cacert, options.cert, options.key)]
    if not options.tls:
        if any(files):
            raise OperatorError("--cacert, --cert and --key go with --tls")
        return None
    tls = Tls(*files)
    try:
        tls.context()
    except OSError as error:
        raise OperatorError(str(error)) from error
    return tls
