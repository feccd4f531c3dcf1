# SPDX-License-Identifier: Apache-2.0
"""Arguments that name servers, and the login there."""

import argparse
import os

from chainredis.protocol.view import Endpoint, parse_endpoint
from chainredis.transport.settings import Credentials

PASSWORD = "REDISCLI_AUTH"  # noqa: S105 - the name of the variable, the same as that of redis-cli


def address(text: str) -> Endpoint:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    try:
        return parse_endpoint(host.encode(), port.encode())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT: {error}") from error


def add_login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", default="", help=f"to log in as; the password is taken from the variable {PASSWORD}")


def credentials(options: argparse.Namespace) -> Credentials:
    return Credentials(options.user, os.environ.get(PASSWORD, ""))
