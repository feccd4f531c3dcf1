# SPDX-License-Identifier: Apache-2.0
"""`chainredis backup`: a member's RDB for servers without the modules."""

import argparse
from pathlib import Path

from chainredis.backup.plain import make_plain
from chainredis.cli.subcommands import AddParser


def register(add_parser: AddParser) -> None:
    parser = add_parser("backup", help="make a member's RDB one that servers without the modules load")
    parser.add_argument("rdb", type=Path, metavar="RDB", help="of a member: from redis-cli --rdb, or its dump.rdb")
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="the new RDB")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="PATH", help="the folder of that member's checkpoint, with the keys that it "
        "has flushed; nothing in it is changed",
    )  # fmt: skip
    parser.add_argument("--incomplete", action="store_true", help="do without keys that were flushed")
    parser.set_defaults(call=backup)


def backup(options: argparse.Namespace) -> None:
    """BackupError, CheckpointError or LauncherError; then FILE is unchanged."""
    result = make_plain(options.rdb, options.output, checkpoint=options.checkpoint, incomplete=options.incomplete)
    if result.history:
        print(f"history {result.history}, up to sn {result.applied}")
    else:
        print("of a server that was in no chain")
    if result.from_checkpoint:
        print("all keys are from the checkpoint, which is newer than the RDB")
    print(f"{result.flushed} keys from the checkpoint")
    for name in result.left_out:
        print(f"left out: what the module with the type {name} keeps beside the keys")
