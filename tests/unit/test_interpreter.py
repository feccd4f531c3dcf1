# SPDX-License-Identifier: Apache-2.0
"""Two of this project's objects may be in one server, and both start the interpreter: they share a lock."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OBJECTS = ("libmaster.so", "libheartbeat.so", "etcd/libetcd_master.so")

ADDRESSES = """
import ctypes, os, sys
print({ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(path, os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND),
                                             "chainredis_interpreter")) for path in sys.argv[1:]})
"""


def test_the_lock_is_one() -> None:
    paths = [str(ROOT / "build/src" / name) for name in OBJECTS]
    found = subprocess.run([sys.executable, "-c", ADDRESSES, *paths], check=True, capture_output=True, text=True)
    assert len(found.stdout.split(",")) == 1, found.stdout
