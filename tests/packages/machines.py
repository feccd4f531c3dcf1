# SPDX-License-Identifier: Apache-2.0
"""Machines with systemd, each in namespaces of its own, on a network of their own."""

import os
import signal
import subprocess
from pathlib import Path
from typing import IO

import psutil

from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until

TREE = ROOT / "build/machine"       # by packaging/build-machine
PREFIX = f"machines-{os.getpid()}"  # of network namespaces


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Network:
    """A switch, without a way out."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}-switch"
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", self.name, "link", "set", "switch", "up")

    def close(self) -> None:
        run("ip", "netns", "delete", self.name)


class Machine:
    """A machine, which runs from `boot` to `lose_power`, and has one shell of root's."""

    def __init__(self, network: Network, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self._network = network.name
        self._host = f"{PREFIX}-{address}"
        self._port = f"to-{address.rpartition('.')[2]}"
        self._init: subprocess.Popen[bytes] | None = None
        self._shell: subprocess.Popen[str] | None = None
        folder.mkdir()
        run("ip", "netns", "add", self._host)
        peer = ["peer", "name", "eth0", "netns", self._host]
        run("ip", "-n", self._network, "link", "add", self._port, "type", "veth", *peer)
        run("ip", "-n", self._network, "link", "set", self._port, "master", "switch")
        run("ip", "-n", self._host, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", self._host, "link", "set", "lo", "up")
        run("ip", "-n", self._host, "link", "set", "eth0", "up")

    def boot(self) -> None:
        run("ip", "-n", self._network, "link", "set", self._port, "up")
        namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        boot = [str(path) for path in (Path(__file__).with_name("boot-machine"), TREE, self.folder)]
        with (self.folder / "boot.log").open("ab") as log:
            command = ["ip", "netns", "exec", self._host, *namespaces, *boot]
            self._init = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_up, 60)
        shell = [*self._enter(), "bash", "-e"]
        self._shell = subprocess.Popen(
            shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.shell("cd /root")

    def lose_power(self) -> None:
        """Nothing on the machine says a word more, not even its network."""
        run("ip", "-n", self._network, "link", "set", self._port, "down")
        assert self._init
        os.kill(self._first_process(), signal.SIGKILL)
        self._init.wait()
        self._init = None
        if self._shell:
            self._shell.communicate()

    def close(self) -> None:
        if self._init:
            self.lose_power()
        run("ip", "netns", "delete", self._host)

    def shell(self, lines: str) -> str:
        """What the lines print, typed into root's shell. AssertionError if one of them fails."""
        assert self._shell and self._shell.stdin and self._shell.stdout
        self._copy("root/typed", lines + "\n")
        self._shell.stdin.write(". /root/typed < /dev/null; echo; echo typed-to-the-end\n")
        self._shell.stdin.flush()
        return self._read(self._shell.stdout)

    def copy(self, file: Path) -> None:
        """Into the home of root."""
        self._copy(f"root/{file.name}", file.read_bytes())

    def _copy(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        subprocess.run([*self._enter(), "tee", f"/{name}"], input=data, stdout=subprocess.DEVNULL, check=True)

    def _read(self, output: IO[str]) -> str:
        lines: list[str] = []
        for line in output:
            if line == "typed-to-the-end\n":
                return "".join(lines).rstrip("\n")
            lines.append(line)
        raise AssertionError(f"{self.address}: a command has failed, after these lines:\n{''.join(lines)}")

    def _first_process(self) -> int:
        """The id of systemd, as seen from here. 0 if it does not run yet."""
        assert self._init
        return next((child.pid for child in psutil.Process(self._init.pid).children()), 0)

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._first_process()), "--all", "--root"]

    def _is_up(self) -> bool:
        if not self._first_process():
            return False
        ask = [*self._enter(), "systemctl", "is-system-running"]
        state = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
        return state.strip() in {"running", "degraded"}
