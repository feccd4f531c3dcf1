# SPDX-License-Identifier: Apache-2.0
"""Unmodified applications and clients, with the head as their Redis. Each is a program that checks its own results.

They are installed in build/applications, in an environment of their own: they want other versions than this project.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import ROOT
from commands.run import same_data

PROGRAMS = Path(__file__).with_name("programs")
INSTALLED = ROOT / "build/applications"
TIMEOUT_S = 90

pytestmark = pytest.mark.timeout(TIMEOUT_S + 30)


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_python(chain: Cluster, program: Path) -> None:
    run(chain, INSTALLED / "bin/python", program)


@pytest.mark.parametrize("name", ["celery_tasks", "rq_jobs"])
def test_python_by_sentinel(chain: Cluster, name: str) -> None:
    """The application asks the master for the head, as its documentation says of Sentinels."""
    run(chain, INSTALLED / "bin/python", PROGRAMS / f"{name}.py", url=f"sentinel://{chain.master.endpoint}")


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.mjs")), ids=lambda path: path.stem)
def test_javascript(chain: Cluster, program: Path) -> None:
    run(chain, "node", program, INSTALLED / "package.json")


def run(chain: Cluster, *command: str | Path, url: str = "") -> None:
    """Run the program, whose URL is the head's unless given. Its result must be right, and the same on each member."""
    interpreter, program, *more = command
    assert (INSTALLED / ".installed").is_file(), "`make test` installs the applications"
    words = [interpreter, program, url or f"redis://{chain.head.endpoint}/0", *more]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    same_data(chain.members)
