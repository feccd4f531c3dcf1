# SPDX-License-Identifier: Apache-2.0
"""The servers that the tests know, by name: the one that is built, and those that vendor/fetch-server fetches."""

import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import ROOT, server_path

FETCHED = ROOT / "vendor/servers"
LISTED = tomllib.loads((ROOT / "vendor/servers.toml").read_text())
NAMES = [name for name in LISTED if not name.startswith("etcd")]
EACH = ["redis-7.0", *(name.rpartition(".")[0] for name in NAMES)]     # the series of each, such as "valkey-8.1"
SHARED_ALLOCATOR = "libjemalloc.so.2"  # the allocator that Debian links its servers with


@cache
def series_of(path: Path) -> str:
    """What a server says that it is, such as "valkey-8.1"."""
    said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.match(r"(\w+) server v=(\d+\.\d+)", said)
    assert found, said
    return f"{found[1].lower()}-{found[2]}"


def default_series() -> str:
    """Of the server that a test starts if it says nothing: $CHAINREDIS_SERVER, or the one that was built."""
    try:
        return series_of(server_path())
    except LauncherError:   # nothing is built yet; some tests need nothing
        return "redis-7.0"


DEFAULT = default_series()
OLDEST_AND_NEWEST = ("redis-7.0", "redis-8.2", "valkey-9.1")
# Those that tests compare, unless they are asked to use another one.
SERVERS: tuple[str, ...] = OLDEST_AND_NEWEST if DEFAULT == "redis-7.0" else (DEFAULT,)

# These begin with the oldest version, and add later ones.
MIXES_VERSIONS = pytest.mark.skipif(DEFAULT != "redis-7.0", reason="it mixes versions of its own choice")


@cache
def speaks_tls(path: Path) -> bool:
    """Is a server built with TLS? It ends at once in any case: a port for TLS needs a certificate."""
    command: list[str | Path] = [path, "--port", "0", "--tls-port", "1", "--dir", "/"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout
    assert "TLS" in said, said
    return "No tls-cert-file configured" in said


def needs_tls() -> pytest.MarkDecorator:
    return pytest.mark.skipif(not speaks_tls(server_path()), reason="the server is built without TLS")


def path_of(series: str) -> Path:
    """The server of that series, such as "redis-8.2": the one that was built, or where vendor/fetch-server puts it."""
    name = next((name for name in NAMES if name.rpartition(".")[0] == series), "")
    return FETCHED / name / f"{name.partition('-')[0]}-server" if name else ROOT / "vendor/redis/src/redis-server"


def use(series: str, patch: pytest.MonkeyPatch) -> None:
    """Let all servers that are started from now on be of that series."""
    if series == DEFAULT:
        return
    if "CHAINREDIS_MODULES" in os.environ:
        pytest.skip("modules with sanitizers need a server with them")
    path = path_of(series)
    if not path.exists():
        if "suite" in LISTED.get(path.parent.name, {}):
            pytest.skip(f"there is no {path}: Debian may offer another version by now")
        pytest.fail(f"there is no {path}: vendor/fetch-server fetches it")
    if series_of(path) != series:
        pytest.skip(f"{path} is {series_of(path)}")
    patch.setenv("CHAINREDIS_SERVER", str(path))


def share_allocator(patch: pytest.MonkeyPatch) -> None:
    """Let the server and libc on its behalf allocate with a shared library, and the modules with libc's malloc."""
    patch.setenv("LD_PRELOAD", SHARED_ALLOCATOR)
