# SPDX-License-Identifier: Apache-2.0
"""`chainredis`: the subcommands, each in a module of its own with a `register` function."""

import argparse
import sys

from chainredis.cli import (
    backup,
    bench,
    bench_etcd,
    bench_failover,
    bench_flush,
    change,
    checkpoint,
    completion,
    modules,
    run,
    status,
)
from chainredis.cli.exit_status import ExitStatus
from chainredis.local_cluster.process import LauncherError
from chainredis.protocol.errors import BackupError, CheckpointError, MemberError, OperatorError


def command_line() -> argparse.ArgumentParser:
    """What a shell's user may type. The options' `call` carries it out, and returns the exit status or None."""
    parser = argparse.ArgumentParser(prog="chainredis", description="Chain Replicated Redis")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    run.register(subcommands.add_parser)
    status.register(subcommands.add_parser)
    change.register(subcommands.add_parser)
    bench.register(subcommands.add_parser)
    bench_failover.register(subcommands.add_parser)
    bench_etcd.register(subcommands.add_parser)
    bench_flush.register(subcommands.add_parser)
    checkpoint.register(subcommands.add_parser)
    backup.register(subcommands.add_parser)
    modules.register(subcommands.add_parser)
    completion.register(subcommands.add_parser, parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line. Returns the exit status."""
    options = command_line().parse_args(arguments)
    try:
        return options.call(options) or ExitStatus.WELL
    except (LauncherError, CheckpointError, BackupError, OperatorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.NOT_WELL
    except MemberError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.UNREACHABLE
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
