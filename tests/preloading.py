# SPDX-License-Identifier: Apache-2.0
"""Servers that meet failures of the system: a small library, compiled here and preloaded, replaces what they call."""

import os
import subprocess
from pathlib import Path

import pytest

from servers import DEFAULT

# Those that replace calls of the modules.
NEEDS_PRELOADING = [
    pytest.mark.skipif(
        "CHAINREDIS_MODULES" in os.environ, reason="a sanitizer's library has to be the first that is preloaded"
    ),
    pytest.mark.skipif(
        DEFAULT in ("valkey-8.1", "valkey-9.1"), reason="their modules see the C library before what is preloaded"
    ),
]


def preloading(folder: Path, source: str, **environment: object) -> tuple[str, ...]:
    """Words to put before a server's command. The library is made in the folder, once.

    source: in C.
    environment: what the library gets from `getenv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "preloaded.so"
    if not library.exists():
        command = ["cc", "-shared", "-fPIC", "-o", str(library), "-x", "c", "-", "-ldl"]
        subprocess.run(command, input=source.encode(), check=True)
    return "env", f"LD_PRELOAD={library}", *(f"{name}={value}" for name, value in environment.items())
