"""`python -m chainredis`: the subcommands, each in a module of its own with a `register` function."""

import argparse
import sys

from chainredis import (
    command_backup,
    command_bench,
    command_bench_etcd,
    command_bench_failover,
    command_bench_flush,
    command_checkpoint,
    command_run,
)
from chainredis.errors import BackupError, CheckpointError
from chainredis.launcher import LauncherError


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chainredis", description="Chain Replicated Redis")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    command_run.register(subcommands.add_parser)
    command_bench.register(subcommands.add_parser)
    command_bench_failover.register(subcommands.add_parser)
    command_bench_etcd.register(subcommands.add_parser)
    command_bench_flush.register(subcommands.add_parser)
    command_checkpoint.register(subcommands.add_parser)
    command_backup.register(subcommands.add_parser)
    options = parser.parse_args(arguments)
    try:
        options.call(options)
    except (LauncherError, CheckpointError, BackupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
