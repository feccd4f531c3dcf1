# SPDX-License-Identifier: Apache-2.0
"""packaging/Containerfile, on the small Debian of build/machine, and a chain of three containers.

They are isolated by chroot alone, which any machine can do as root. `make test-packages` runs it.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until
from integration.documented import answers
from packages.machines import TREE, run

Buildah = Callable[..., list[str]]


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Buildah]:
    """`buildah("run", …)` is a command with images of this test alone."""
    storage = ["--root", f"{tmp_path}/images", "--runroot", f"{tmp_path}/running", "--storage-driver", "overlay"]

    def command(*words: str | Path) -> list[str]:
        return ["buildah", *storage, *map(str, words)]

    yield command
    run(*command("rm", "--all"))
    run(*command("rmi", "--all", "--force"))


@pytest.mark.timeout(1800)
def test_a_chain_of_containers(buildah: Buildah) -> None:
    base = run(*buildah("from", "scratch")).strip()
    run(*buildah("add", "--quiet", base, TREE))
    run(*buildah("commit", "--quiet", base, "small-debian"))
    where = ["--isolation", "chroot", "--network", "host"]
    file = ["--file", ROOT / "packaging/Containerfile", ROOT / "build/deb"]
    run(*buildah("build", *where, "--build-arg", "BASE=localhost/small-debian", "--tag", "chainredis", *file))
    with ExitStack() as stack:
        ports = [free_port() for _ in range(3)]
        for kind, port in zip(("master", "member", "member"), ports, strict=True):
            name = run(*buildah("from", "--pull-never", "chainredis")).strip()
            server = ["redis-server", f"/usr/share/chainredis/{kind}.conf", "--port", str(port)]
            process = subprocess.Popen(buildah("run", "--isolation", "chroot", name, "--", *server))
            stack.callback(process.wait)
            client = stack.enter_context(redis.Redis(port=port, protocol=2))
            stack.callback(client.shutdown, nosave=True)
            wait_until(lambda port=port: answers(port), 60)  # type: ignore[misc]
        clients: list[Any] = [stack.enter_context(redis.Redis(port=port, protocol=2)) for port in ports]
        master, head, tail = clients
        for port in ports[1:]:
            assert master.execute_command("MASTER.ADD", "127.0.0.1", port) == b"OK"
        assert head.set("a", "1")
        assert tail.get("a") == b"1"
