# SPDX-License-Identifier: Apache-2.0
"""Processors that are kept from halting: every other process comes first, and nothing goes on to spin."""

import os
import subprocess
import sys

import psutil

from chainredis.benchmarks.awake import processors_awake
from chainredis.transport.waiting import wait_until
from processes import has_ended

KILLED_AMID = """\
import os, signal
from chainredis.benchmarks.awake import processors_awake
import psutil
with processors_awake():
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def spins(pid: int) -> bool:
    return os.sched_getscheduler(pid) == os.SCHED_IDLE


def test_each_processor_has_its_own_that_everybody_displaces() -> None:
    with processors_awake():
        spinning = [child for child in psutil.Process().children() if "SCHED_IDLE" in " ".join(child.cmdline())]
        wait_until(lambda: all(spins(process.pid) for process in spinning), 20)
        assert sorted(process.cpu_affinity() for process in spinning) == [[n] for n in sorted(os.sched_getaffinity(0))]
    assert not any(process.is_running() for process in spinning)


def test_they_end_with_the_one_that_started_them() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_AMID], capture_output=True, text=True, check=False, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == len(os.sched_getaffinity(0))
    wait_until(lambda: all(map(has_ended, pids)), 20)
