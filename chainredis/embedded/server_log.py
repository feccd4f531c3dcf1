# SPDX-License-Identifier: Apache-2.0
"""Python's log is the server's log."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable

# Writes a text, line by line, at one of Redis's levels: debug, verbose, notice, warning.
Log = Callable[[str, str], None]


def redirect_logs(log: Log) -> None:
    """Everything that Python would write to standard error goes to `log` instead."""

    class ServerHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "warning" if record.levelno >= logging.WARNING else "notice"
            log("debug" if record.levelno < logging.INFO else level, self.format(record))

    def log_uncaught(what: str, exception: BaseException | None) -> None:
        log("warning", f"{what}\n" + "".join(traceback.format_exception(exception)))

    logging.basicConfig(handlers=[ServerHandler()], level=logging.INFO, format="%(message)s")
    threading.excepthook = lambda args: log_uncaught("a Python thread ended", args.exc_value)
    sys.unraisablehook = lambda args: log_uncaught(f"Exception ignored in {args.object!r}", args.exc_value)
