# SPDX-License-Identifier: Apache-2.0
"""Programs that are started on this machine, each with a folder of its own, and that do not outlive this one.

A program is started from the main thread: the kernel kills it when the thread that started it ends, so that it does not
outlive a program that was itself killed.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from chainredis.transport.waiting import WaitTimeout, wait_until

STOP_TIMEOUT_S = 20

# Words in a log that show a fault in the server's own code.
COMPLAINTS = (
    "BUG REPORT START", "broken invariant", "Exception ignored", "Traceback (most recent call last)", "Sanitizer:",
    "runtime error:",
)  # fmt: skip


class LauncherError(Exception):
    """A server could not be started, or a chain could not be built. The text says why."""


class Process:
    """A program with a folder of its own, which has its log. All errors are LauncherError.

    prefix: words before the command, to run it in another way.
    """

    def __init__(self, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    def __repr__(self) -> str:
        return self.folder.name

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LauncherError(f"{self.folder.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self) -> list[str]:
        """Signs of a fault: a crash, a lost exception, a sanitizer's report, an end that nobody asked for."""
        found = [line for line in self.log().splitlines() if any(complaint in line for complaint in COMPLAINTS)]
        status = self._process.poll() if self._process else None
        if status and not self._told_to_end:
            found.append(f"{self} ended by itself with status {status}")
        return found

    def launch(self, command: Sequence[str]) -> None:
        """Start the command. It is not in this process group: Ctrl-C is for this program, which stops all in order."""
        if self.running:
            raise LauncherError(f"{self} is running")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._told_to_end = False
        with self.log_path.open("ab") as log:
            words = [*_die_with_parent(), *self._prefix, *command]
            self._process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, process_group=0)

    def await_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `is_ready`. LauncherError, with the end of the log, if the process ends or takes too long."""

        def ready() -> bool:
            if not self.running:
                raise LauncherError(f"{self} ended while starting:\n{self.log_tail()}")
            return is_ready()

        try:
            wait_until(ready, timeout_s)
        except WaitTimeout:
            raise LauncherError(f"{self} does not answer:\n{self.log_tail()}") from None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM; SIGKILL if the process does not end in time. No error if it has ended already."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(timeout_s)
        self.kill()

    def terminate(self) -> None:
        """SIGTERM, also to a paused process. Does not wait."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end. No error if the process has ended already."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT_S)

    def pause(self) -> None:
        """SIGSTOP: the process stays connected but is silent, like a server that hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """No error if the process has ended already."""
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.wait(timeout_s)


def _die_with_parent() -> list[str]:
    """Words before a command that make the kernel kill it with this program; none if setpriv is missing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
