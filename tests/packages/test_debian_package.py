# SPDX-License-Identifier: Apache-2.0
"""The Debian package: built, clean for lintian, and a chain of what is in it, started as its units say."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import ROOT, server_path
from packages.service import PACKAGING, configure, service

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("dh", "dh_python3", "chrpath", "lintian"))), reason="no debhelper or lintian here"
)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (PACKAGING / "debian/changelog").read_text().startswith(f"chainredis ({version}) ")


def test_each_dependency_is_of_debian_or_inside() -> None:
    """Of the package's own environment, or by the name that Debian gives it."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[<>=~!]", dependency)[0] for dependency in dependencies}
    control = (PACKAGING / "debian/control").read_text()
    packed = re.search(r"^readonly PRIVATE=\((.*)\)$", (PACKAGING / "build-deb").read_text(), re.MULTILINE)
    assert packed
    assert {name for name in names if f" python3-{name}" not in control} <= set(packed[1].split())
    rules = (PACKAGING / "debian/rules").read_text()
    installed = re.search(r"--find-links wheels chainredis (.*)$", rules, re.MULTILINE)
    assert installed
    assert installed[1] == packed[1]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
@pytest.mark.parametrize("kind", ["master", "member"])
def test_systemd_understands_the_units(kind: str, tmp_path: Path) -> None:
    unit = PACKAGING / f"systemd/redis-chain-{kind}@.service"
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/usr/bin/redis-server", str(server_path())))
    assert run("systemd-analyze", "verify", "--man=no", "--generators=no", copy) == ""
    # 10 is no protection at all; what is left is the network, and files of /proc.
    level = re.search(r"exposure level for \S+: ([\d.]+)", run("systemd-analyze", "security", "--offline=yes", copy))
    assert level
    assert float(level[1]) < 1.5


@needs_tools
@pytest.mark.timeout(400)   # a build, of half a minute of processor time
def test_a_chain_of_what_the_package_has(tmp_path: Path) -> None:
    package = run(PACKAGING / "build-deb", tmp_path / "built").splitlines()[-1]
    run("dpkg-deb", "--extract", package, tmp_path)
    units = tmp_path / "lib/systemd/system"
    folder = tmp_path / "usr/lib/chainredis"
    assert not re.search("RPATH|RUNPATH", run("readelf", "-d", *folder.glob("modules/*.so")))
    assert "/built/" not in (folder / "bin/chainredis").read_text() + (folder / "pyvenv.cfg").read_text()
    # What Debian's packages would bring is this machine's Python, and what is in the tests' environment.
    (tmp_path / "usr/bin/python3").symlink_to(f"{sys.base_prefix}/bin/python3")
    (site,) = folder.glob("lib/python3.*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    places = {
        "/usr/bin/redis-server": server_path(),
        "/usr/lib/chainredis": folder,
        "/etc/chainredis": tmp_path / "etc/chainredis",
        "/var/lib/chainredis": tmp_path / "var",
    }
    kinds = ("master", "member", "member", "member")
    ports = [free_port() for _ in kinds]
    with ExitStack() as stack:
        for kind, port in zip(kinds, ports, strict=True):
            configure(tmp_path / f"usr/share/chainredis/{kind}.conf", port, places)
            stack.enter_context(service(units / f"redis-chain-{kind}@.service", port, places))
        clients = [stack.enter_context(redis.Redis(port=port, protocol=2)) for port in ports]
        master, head, *others = clients
        for port in ports[1:]:
            assert master.execute_command("MASTER.ADD", "127.0.0.1", port) == b"OK"
        assert head.set("a", "1")
        assert [other.get("a") for other in others] == [b"1", b"1"]
        maps = [Path(f"/proc/{client.info('server')['process_id']}/maps").read_text() for client in (master, head)]
        assert all(str(folder) in each and str(ROOT / "build") not in each for each in maps)
        assert "all is well" in run(folder / "bin/python3", "-P", "-m", "chainredis", "status", f"127.0.0.1:{ports[0]}")
