# SPDX-License-Identifier: Apache-2.0
"""Runs servers by the units and the sample files of packaging/, as systemd and an administrator would."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until

PACKAGING = ROOT / "packaging"
PORTS = {"master": 6369, "member": 6370}    # of the sample files


def placed(text: str, places: Mapping[str, Path]) -> str:
    """The text with other paths than those of an installed package."""
    for path, place in places.items():
        text = text.replace(path, str(place))
    return text


def configure(sample: Path, port: int, places: Mapping[str, Path]) -> Path:
    """What an administrator does to have a server: copies the sample, with its port. Returns the copy's path."""
    kind = sample.stem
    copy = Path(placed(f"/etc/chainredis/{kind}-{port}.conf", places))
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(placed(sample.read_text().replace(str(PORTS[kind]), str(port)), places))
    Path(placed(f"/var/lib/chainredis/{kind}-{port}", places)).mkdir(parents=True)  # the unit's StateDirectory
    return copy


@contextmanager
def service(unit: Path, port: int, places: Mapping[str, Path]) -> Iterator[Path]:
    """The unit's program, started for this port, and ended as systemd ends it. Yields the path of its log."""
    command = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    assert command
    words = [placed(word, places) for word in command[1].replace("%i", str(port)).split()]
    setpriv = shutil.which("setpriv")
    parent = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    log = Path(placed(f"/var/lib/chainredis/{port}.log", places))
    with log.open("w") as output:
        process = subprocess.Popen([*parent, *words], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or "Ready to accept connections" in log.read_text(), 30)
        assert process.poll() is None, log.read_text()
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
