# SPDX-License-Identifier: Apache-2.0
"""`python -m chainredis`: the subcommands, each in a module of its own with a `register` function."""

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
    run,
    status,
)
from chainredis.local_cluster.process import LauncherError
from chainredis.protocol.errors import BackupError, CheckpointError, MemberError, OperatorError


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chainredis", description="Chain Replicated Redis")
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
    options = parser.parse_args(arguments)
    try:
        result = options.call(options)
    except (LauncherError, CheckpointError, BackupError, MemberError, OperatorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else 0
