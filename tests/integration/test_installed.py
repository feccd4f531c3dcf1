# SPDX-License-Identifier: Apache-2.0
"""A wheel, installed into an environment of its own: modules, command line and client work without the clone."""

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from chainredis.local_cluster.server import ROOT
from integration.conftest import StartServer
from integration.helpers import ask

# What the manylinux policies let a wheel need, and OpenSSL, which is wherever Debian's Python is.
EVERYWHERE = re.compile(r"linux-vdso|/lib64/ld-linux|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|z|expat|crypto|ssl)\.so")
WRITE = """
import sys
from chainredis.client import Chain
with Chain(sys.argv[1:]) as chain:
    chain.put("a", "1")
    print(chain.read("a"))
"""


def run(*command: str | Path, folder: Path) -> str:
    """What a program prints. It must succeed, and finds nothing of the clone by its variables or its folder."""
    done = subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of what `make` has compiled, as pip has it made, but in a folder of its own: another worker may, too."""
    folder = tmp_path_factory.mktemp("wheel")
    package = ["egg_info", "--egg-base", f"{folder}", "build", "--build-lib", f"{folder}/package"]
    packing = ["bdist_wheel", "--bdist-dir", f"{folder}/tree", "--dist-dir", f"{folder}"]
    run(sys.executable, "setup.py", "-q", *package, *packing, folder=ROOT)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel. What the wheel depends on is that of the tests' environment."""
    folder = tmp_path_factory.mktemp("installed") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    python = folder / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=folder.parent)
    # The lines of .pth files in that folder, such as the one that leads to the clone, are not read.
    (package(folder).parent / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def package(environment: Path) -> Path:
    (found,) = environment.glob("lib/python3.*/site-packages/chainredis")
    return found


def test_a_wheel_has_the_package_and_the_modules_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"chainredis"}
    libraries = {"libmember.so", "libmaster.so", "libetcd_master.so", "libheartbeat.so"}
    assert {"chainredis/py.typed", *(f"chainredis/modules/{library}" for library in libraries)} <= names
    metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("/METADATA"))).decode()
    pins = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and re.search("[<=~!]=?", line)]
    assert [pin for pin in pins if not re.fullmatch(r"Requires-Dist: [\w-]+>=[\d.]+", pin)] == []


def test_what_the_modules_need_is_inside_or_everywhere(environment: Path) -> None:
    folder = package(environment) / "modules"
    for library in folder.glob("*.so"):
        needed = re.findall(r"^\s*(\S+)(?: => (\S+))?", run("ldd", library, folder=folder), re.MULTILINE)
        foreign = {name: path for name, path in needed if not EVERYWHERE.match(name)}
        assert {name for name in foreign if not (folder / name).exists()} == set()
        assert {Path(path).parent for name, path in foreign.items() if "libpython" not in name} <= {folder}
    assert (folder / "LICENSE.hiredis").exists()


def test_a_chain_of_installed_modules(environment: Path, server: StartServer, tmp_path: Path) -> None:
    program = environment / "bin/chainredis"
    modules = dict(line.split() for line in run(program, "modules", folder=tmp_path).splitlines())
    assert run(program, "modules", "member", folder=tmp_path) == f"{modules['member']}\n"
    assert {Path(path).parent for path in modules.values()} == {package(environment) / "modules"}
    assert set(modules) == {"member", "master", "etcd-master"}
    imported = package(environment) / "coordinator/__pycache__"     # Python compiles what it imports
    assert not list(imported.glob("runtime.*"))
    master = server(modules["master"])
    assert list(imported.glob("runtime.*"))
    mapped = Path(f"/proc/{master.pid}/maps").read_text()
    assert str(ROOT / "build") not in mapped
    members = [server(modules["member"]) for _ in range(2)]
    for member in members:
        assert ask(master, "MASTER.ADD", member.endpoint.host, member.port) == b"OK"
    addresses = [str(member.endpoint) for member in members]
    assert run(environment / "bin/python", "-I", "-c", WRITE, *addresses, folder=tmp_path).strip() == "b'1'"
    assert ask(members[1], "READ", "a") == b"1"
    assert "all is well" in run(program, "status", str(master.endpoint), folder=tmp_path)
