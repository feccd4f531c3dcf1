# SPDX-License-Identifier: Apache-2.0
"""`chainredis completion`: a script by which a shell completes subcommands, options and paths."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab

from chainredis.cli.subcommands import AddParser

SHELLS = ("bash", "zsh")
INSTALLING = "for example `chainredis completion bash > ~/.local/share/bash-completion/completions/chainredis`"


def register(add_parser: AddParser, root: argparse.ArgumentParser) -> None:
    """root: of the whole command line, with all its subcommands when `completion` is called."""
    parser = add_parser("completion", help="print a script by which a shell completes this", epilog=INSTALLING)
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(call=lambda options: print(script(root, options.shell)))


def script(root: argparse.ArgumentParser, shell: str) -> str:
    for action in _actions(root):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
    return shtab.complete(root, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser and of its subcommands."""
    for action in parser._actions:  # noqa: SLF001 - argparse does not list them otherwise
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for subcommand in action.choices.values():
                yield from _actions(subcommand)
