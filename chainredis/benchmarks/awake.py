# SPDX-License-Identifier: Apache-2.0
"""Keep the processors awake while something is measured.

A virtual processor that has nothing to do halts, and to wake it takes its host some 20 µs: more than the work that it
is woken for. The time of a request that passes through four processes one after another would mostly be that. So each
processor spins while it has nothing else to do, as with the kernel's `idle=poll`.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# Any other process displaces one of the class SCHED_IDLE at once. It ends with the one that started it.
SPIN = """\
import os, sys
processor, parent = map(int, sys.argv[1:])
os.sched_setaffinity(0, {processor})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == parent:
    pass
"""


@contextlib.contextmanager
def processors_awake() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for processor in os.sched_getaffinity(0):
            spinning = subprocess.Popen([sys.executable, "-c", SPIN, str(processor), str(os.getpid())])
            stack.callback(spinning.wait)
            stack.callback(spinning.kill)
        yield
