# SPDX-License-Identifier: Apache-2.0
"""`core.pyi`, by which mypy judges all tests of the core, says what the compiled extension has."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_stub_of_the_core_is_true() -> None:
    options = ["--ignore-disjoint-bases", "--allowlist", str(Path(__file__).with_name("core_stub_allowlist.txt"))]
    found = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "core_extension.core", *options], cwd=ROOT,
        env={**os.environ, "MYPYPATH": "tests", "PYTHONPATH": "tests"}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
