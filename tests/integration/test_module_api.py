# SPDX-License-Identifier: Apache-2.0
"""A module is not loaded by a server that lacks a function which the module calls."""

from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server, module_path
from servers import DEFAULT

# Each of the same length as the name that it replaces in a copy of the module, so that no server knows it.
MISSING = {b"RedisModule_EventLoopAddOneShot\0": b"RedisModule_EventLoopAddOneSh0t\0",
           b"RedisModule_BlockClient\0": b"RedisModule_BlockClien7\0"}  # fmt: skip


@pytest.mark.parametrize("module", [MEMBER, MASTER])
def test_functions_that_are_missing_are_named(tmp_path: Path, module: str) -> None:
    changed = module_path(module).read_bytes()
    for name, other in MISSING.items():
        assert name in changed
        changed = changed.replace(name, other)
    copy = tmp_path / module
    copy.write_bytes(changed)
    copy.chmod(0o755)
    server = Server(tmp_path / "server", modules=[str(copy)])
    with pytest.raises(LauncherError):
        server.start()
    log, version = server.log(), DEFAULT.replace("-", " ")
    assert f"{module}: this server, {version}" in log
    assert "lacks functions that the module calls: RedisModule_BlockClien7 RedisModule_EventLoopAddOneSh0t" in log
