# SPDX-License-Identifier: Apache-2.0
"""Unmodified applications and clients, with the head as their Redis. Each is a program that checks its own results.

They are installed in build/applications, in an environment of their own: they want other versions than this project.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from certificates import Certificates
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import free_port
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


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
@pytest.mark.parametrize("name", ["ioredis", "node_redis"])
def test_javascript_with_tls(chain: Cluster, certificates: Certificates, name: str) -> None:
    """The same programs; the URL says that it is TLS. Node.js looks at the name in the certificate, too."""
    mine, port = certificates.identity(), free_port()
    settings = {**mine.server, "tls-auth-clients": "no", "tls-port": str(port)}
    chain.head.call("CONFIG", "SET", *(word for setting in settings.items() for word in setting))
    try:
        run(chain, "node", PROGRAMS / f"{name}.mjs", INSTALLED / "package.json", url=f"rediss://127.0.0.1:{port}/0",
            NODE_EXTRA_CA_CERTS=mine.ca)  # fmt: skip
    finally:
        chain.head.call("CONFIG", "SET", "tls-port", "0")


def run(chain: Cluster, *command: str | Path, url: str = "", **environment: str) -> None:
    """Run the program, whose URL is the head's unless given. Its result must be right, and the same on each member."""
    interpreter, program, *more = command
    assert (INSTALLED / ".installed").is_file(), "`make test` installs the applications"
    words = [interpreter, program, url or f"redis://{chain.head.endpoint}/0", *more]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    same_data(chain.members)
