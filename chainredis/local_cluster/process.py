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

# What a log has only when something went wrong in the server's own code.
COMPLAINTS = (
    "BUG REPORT START", "broken invariant", "Exception ignored", "Traceback (most recent call last)", "Sanitizer:",
    "runtime error:",
)  # fmt: skip


class LauncherError(Exception):
    """A server could not be started, or the chain not be built. The text says why."""


class Process:
    """A program with a folder of its own, which holds its log. All of its errors are LauncherError."""

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
        """What a healthy server never shows: a crash, a lost exception, a sanitizer's finding, an end by itself."""
        found = [line for line in self.log().splitlines() if any(complaint in line for complaint in COMPLAINTS)]
        status = self._process.poll() if self._process else None
        if status and not self._told_to_end:
            found.append(f"{self} ended by itself with status {status}")
        return found

    def launch(self, command: Sequence[str]) -> None:
        """Not in our process group: Ctrl-C is for us, and we stop everything in order."""
        if self.running:
            raise LauncherError(f"{self} is running")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._told_to_end = False
        with self.log_path.open("ab") as log:
            words = [*_die_with_parent(), *self._prefix, *command]
            self._process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, process_group=0)

    def await_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        def ready() -> bool:
            if not self.running:
                raise LauncherError(f"{self} ended while starting:\n{self.log_tail()}")
            return is_ready()

        try:
            wait_until(ready, timeout_s)
        except WaitTimeout:
            raise LauncherError(f"{self} does not answer:\n{self.log_tail()}") from None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, as an operator would; SIGKILL when that does not end it in time. No error when it has ended."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(timeout_s)
        self.kill()

    def terminate(self) -> None:
        """SIGTERM, to a paused one too; does not wait."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. No error when it has ended."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT_S)

    def pause(self) -> None:
        """SIGSTOP: connected but silent, like a server that hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """No error when it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.wait(timeout_s)


def _die_with_parent() -> list[str]:
    """The words before a command that make the kernel kill it with us; none where the tool is missing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
