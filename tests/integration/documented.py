# SPDX-License-Identifier: Apache-2.0
"""Starts servers by the commands of README.md, and runs redis-cli, without chainredis.local_cluster."""

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until

REDIS_CLI = ROOT / "redis/src/redis-cli"

Start = Callable[[str, int], "subprocess.Popen[bytes]"]


@contextmanager
def documented(
    server: str, cwd: Path, logs: Path, options: Callable[[int], Sequence[str]], endings: Collection[int] = (0,),
    commands: str = "",
) -> Iterator[Start]:
    """`start("libmember.so", 6370)` runs the document's command in the folder `cwd`, with `options` for that port.

    Unlike in the document, nothing is saved at the end, and the server dies with the test. endings: the exit statuses
    that are permitted. commands: the members' member.commands; empty leaves that at its default.
    """
    processes: list[subprocess.Popen[bytes]] = []
    setpriv = shutil.which("setpriv")

    def start(module: str, port: int) -> "subprocess.Popen[bytes]":
        log = logs / f"{port}.log"
        document = [server, "--loadmodule", *module.split(), "--port", str(port)]
        kind = ["--member.commands", commands] if commands and "libmember" in module else []
        ours = [*options(port), *kind, "--save", "", "--logfile", str(log), "--bind", HOST]
        parent = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        process = subprocess.Popen([*parent, *document, *ours], cwd=cwd)
        processes.append(process)
        wait_until(lambda: process.poll() is not None or answers(port), 30)
        assert process.poll() is None, log.read_text()
        return process

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert process.wait(20) in endings
    for log in logs.glob("*.log"):
        assert not re.search("BUG REPORT|Exception ignored|Traceback", log.read_text()), log.read_text()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def redis_cli(port: int, command: str, *options: str) -> str:
    """Run one command as a user types it at a shell; returns the output."""
    done = subprocess.run(
        [REDIS_CLI, *options, "-p", str(port), *command.split()], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.rstrip("\n")


def redis_cli_session(port: int, lines: str) -> list[str]:
    """Run lines as a user types them at redis-cli's prompt; returns the lines of output."""
    done = subprocess.run(
        [REDIS_CLI, "-p", str(port)], input=lines, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()
