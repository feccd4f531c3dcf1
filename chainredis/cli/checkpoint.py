# SPDX-License-Identifier: Apache-2.0
"""`chainredis checkpoint`: read a member's checkpoint while its server is down."""

import argparse
import base64
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from chainredis.checkpoint_tool.database import Checkpoint, opened
from chainredis.checkpoint_tool.examination import Examination
from chainredis.checkpoint_tool.records import RECORD_PREFIX, Item, Record, newest, parse_record
from chainredis.cli.subcommands import AddParser, adding_to
from chainredis.protocol.errors import CheckpointError


def register(add_parser: AddParser) -> None:
    parser = add_parser("checkpoint", help="read a member's checkpoint while its server is down")
    add_action = adding_to(parser, "ACTION")
    export_parser = add_action("export", help="write its keys and values, one JSON object a line")
    export_parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
    export_parser.set_defaults(call=export)
    verify_parser = add_action("verify", help="check all of it, and say what it has; status 1: it has faults")
    verify_parser.set_defaults(call=verify)
    for action in (export_parser, verify_parser):
        action.add_argument("path", type=Path, metavar="PATH", help="the checkpoint's folder; nothing in it is changed")


def export(options: argparse.Namespace) -> None:
    """After a CheckpointError, the lines that were written are right but not complete."""
    with opened(options.path) as checkpoint, _written(options.output) as file:
        items = checkpoint.items(RECORD_PREFIX)
        shown = _shown(checkpoint, items, "exporting") if not file.isatty() else items  # there lines show the progress
        with contextlib.closing(shown):     # at the end of the process its thread would be waited for in vain
            for record in newest(itertools.starmap(parse_record, shown), checkpoint.watermark):
                file.write(as_json(checkpoint.whole(record)) + "\n")


def as_json(record: Record) -> str:
    """Names and values as text; those that are not UTF-8 are base64, under another name."""
    assert record.value is not None
    return json.dumps({**_text("key", record.key), **_text("value", record.value), "sn": record.sn})


def _text(name: str, content: bytes) -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


@contextlib.contextmanager
def _written(path: Path | None) -> Iterator[TextIO]:
    """The body ends early if the reader of standard output has ended."""
    try:
        with path.open("w") if path else contextlib.nullcontext(sys.stdout) as file:
            yield file
            file.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes standard output at its end
    except OSError as error:
        raise CheckpointError(f"{path or 'standard output'}: not all is there: {error.strerror}") from error


def verify(options: argparse.Namespace) -> None:
    """CheckpointError if the checkpoint has any fault."""
    with opened(options.path) as checkpoint:
        examination = Examination(checkpoint)
        examination.examine(_shown(checkpoint, checkpoint.items(), "checking"))
    console = Console()
    console.print(_table(examination))
    for fault in examination.faults:
        console.print(fault, markup=False, highlight=False, soft_wrap=True)
    if examination.fault_count:
        raise CheckpointError(f"{options.path} has {examination.fault_count} faults")


def _table(found: Examination) -> Table:
    meta = found.checkpoint.meta
    table = Table.grid(padding=(0, 2))
    table.add_row("history", meta.history if meta else "none: no checkpoint has been finished")
    table.add_row("watermark", str(meta.watermark) if meta else "none")
    numbers = {
        "keys": found.keys,
        "bytes": found.size,
        "deletions": found.deletions,
        "superseded records": found.superseded,
        "records of an unfinished checkpoint": found.above,
    }
    for name, number in numbers.items():
        table.add_row(name, str(number))
    return table


def _shown(checkpoint: Checkpoint, items: Iterator[Item], doing: str) -> Generator[Item, None, None]:
    """The items; a bar on standard error, if that is a terminal, shows the progress. Their number is known roughly."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)
    with bar:
        yield from bar.track(items, total=checkpoint.meta.records if checkpoint.meta else None, description=doing)
