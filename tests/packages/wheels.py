# SPDX-License-Identifier: Apache-2.0
"""A source archive and a wheel, as `python -m build` makes them in a fresh clone, for each Python of $PYTHONS.

A chain runs of what pip installs of it, with its dependencies, into an empty environment. `make test-packages` runs it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from chainredis.local_cluster.server import ROOT
from integration.conftest import StartServer
from integration.conftest import server as server  # noqa: PLC0414 - a fixture

PYTHONS = os.environ.get("PYTHONS", f"{sys.base_prefix}/bin/python3").split()
USUAL = {"PATH": "/usr/sbin:/usr/bin:/bin", "REDIS_API_SOURCE": str(ROOT / "vendor/redis-api")}


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] = USUAL) -> str:
    """What a program prints. It must succeed."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(3600)  # compiles everything
@pytest.mark.parametrize("python", PYTHONS)
def test_a_wheel_of_a_fresh_clone(python: str, tmp_path: Path, server: StartServer) -> None:
    run("git", "clone", "--quiet", ROOT, tmp_path / "clone", folder=tmp_path)
    run(python, "-m", "venv", "builder", folder=tmp_path)
    pip = ["-m", "pip", "--disable-pip-version-check"]
    run("builder/bin/python", *pip, "install", "--quiet", "build", folder=tmp_path)
    run("builder/bin/python", "-m", "build", "--outdir", "made", "clone", folder=tmp_path)
    (archive,), (raw,) = (tmp_path / "made").glob("*.tar.gz"), (tmp_path / "made").glob("*.whl")
    assert archive.stat().st_size < 5_000_000
    wheel = Path(run(ROOT / "packaging/build-wheel", raw, folder=ROOT, environment=os.environ).strip())
    glibc = os.confstr("CS_GNU_LIBC_VERSION")
    needed = re.search(r"manylinux_2_(\d+)_", wheel.name)
    assert needed and glibc
    assert int(needed[1]) <= int(glibc.rpartition(".")[2])

    run(python, "-m", "venv", "user", folder=tmp_path)
    run("user/bin/python", *pip, "install", "--quiet", wheel, folder=tmp_path)
    paths = dict(line.split() for line in run("user/bin/chainredis", "modules", folder=tmp_path).splitlines())
    master, head, tail = server(paths["master"]), server(paths["member"]), server(paths["member"])
    version = run(python, "-c", "import sysconfig; print(sysconfig.get_python_version())", folder=tmp_path).strip()
    assert f"libpython{version}.so" in Path(f"/proc/{master.pid}/maps").read_text()
    for member in (head, tail):
        assert master.call("MASTER.ADD", member.endpoint.host, member.port) == b"OK"
    assert head.call("MEMBER.PUT", "a", "1") == 0
    assert tail.call("READ", "a") == b"1"
    assert "all is well" in run("user/bin/chainredis", "status", str(master.endpoint), folder=tmp_path)


def test_pip_refuses_a_wheel_of_another_python(tmp_path: Path) -> None:
    """It would have the wrong interpreter inside."""
    wheel = Path(run(ROOT / "packaging/build-wheel", folder=ROOT, environment=os.environ).strip())
    other = re.sub("cp3(\\d+)-cp3\\d+", lambda match: f"cp3{int(match[1]) + 1}-cp3{int(match[1]) + 1}", wheel.name)
    renamed = tmp_path / other
    renamed.write_bytes((ROOT / wheel).read_bytes())
    run(sys.executable, "-m", "venv", "user", folder=tmp_path)
    with pytest.raises(AssertionError, match="not a supported wheel on this platform"):
        run("user/bin/python", "-m", "pip", "install", "--no-deps", renamed, folder=tmp_path)
