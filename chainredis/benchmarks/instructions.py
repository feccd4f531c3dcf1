# SPDX-License-Identifier: Apache-2.0
"""How many instructions a server needs for a command, counted by callgrind. No load of the machine changes that.

All that the server does is counted, also the work of its clock, which is a larger part here: a server is fifty times
slower under callgrind.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from chainredis.benchmarks.load import redis_benchmark
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server

KEYS = 20_000  # written twice, that is more updates than the backlog keeps
REQUESTS = 200_000  # so that the first of each connection, before it is a direct client, count for little
PIPELINE = 16
COUNTS = "callgrind.out"
CALLGRIND = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={COUNTS}")


def can_count() -> bool:
    return shutil.which("valgrind") is not None and shutil.which("callgrind_control") is not None


class _CountedMember(Cluster):
    """A chain of one member, which runs under callgrind."""

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        prefix = CALLGRIND if folder.name.startswith("member") else ()
        return Server(folder, port=port, modules=[module], config=config, prefix=prefix)


def instructions_at_member(*command: str) -> float:
    with _CountedMember(1) as cluster:
        return _count(cluster.head, command)


def instructions_at_plain_server(*command: str) -> float:
    with tempfile.TemporaryDirectory(prefix="chainredis-bench-") as folder:
        server = Server(Path(folder), prefix=CALLGRIND)
        try:
            server.start()
            return _count(server, command)
        finally:
            server.stop()


def _count(server: Server, command: tuple[str, ...]) -> float:
    """Instructions for one command. The first runs create the keys, and fill what a member keeps of its log."""
    redis_benchmark(server, *command, requests=2 * KEYS, pipeline=PIPELINE, keys=KEYS)
    _control(server, "--zero")
    redis_benchmark(server, *command, requests=REQUESTS, pipeline=PIPELINE, keys=KEYS)
    _control(server, "--dump")
    return _counted(server.folder) / REQUESTS


def _control(server: Server, what: str) -> None:
    done = subprocess.run(["callgrind_control", what, str(server.pid)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LauncherError(f"callgrind_control {what} failed: {done.stdout}{done.stderr}")


def _counted(folder: Path) -> int:
    """The sum of the last dump."""
    dumps = sorted(folder.glob(f"{COUNTS}*"), key=lambda path: path.stat().st_mtime)
    lines = [line for path in dumps[-1:] for line in path.read_text().splitlines() if line.startswith("totals:")]
    if len(lines) != 1:
        raise LauncherError(f"callgrind has left no count in {folder}")
    return int(lines[0].split()[1])
