# SPDX-License-Identifier: Apache-2.0
"""How a subcommand is added to the command line."""

import argparse
from collections.abc import Callable
from typing import Any

AddParser = Callable[..., argparse.ArgumentParser]


def adding_to(parser: argparse.ArgumentParser, metavar: str) -> AddParser:
    """What adds a subcommand: its help, one sentence without a full stop, is in the list and in its own help."""
    subcommands = parser.add_subparsers(required=True, metavar=metavar)

    def add_parser(name: str, *, help: str, **more: Any) -> argparse.ArgumentParser:  # noqa: A002 - argparse's name
        return subcommands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", **more)

    return add_parser
