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
from chainredis.cli.subcommands import adding_to
from chainredis.local_cluster.process import LauncherError
from chainredis.protocol.errors import BackupError, CheckpointError, MemberError, OperatorError


def command_line() -> argparse.ArgumentParser:
    """What a shell's user may type. The options' `call` carries it out, and returns the exit status or None."""
    parser = argparse.ArgumentParser(prog="chainredis", description="Chain Replicated Redis")
    add_parser = adding_to(parser, "COMMAND")
    run.register(add_parser)
    status.register(add_parser)
    change.register(add_parser)
    bench.register(add_parser)
    bench_failover.register(add_parser)
    bench_etcd.register(add_parser)
    bench_flush.register(add_parser)
    checkpoint.register(add_parser)
    backup.register(add_parser)
    modules.register(add_parser)
    completion.register(add_parser, parser)
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
