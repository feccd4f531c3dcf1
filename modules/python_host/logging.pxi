# cython: language_level=3
# Included by the modules with an interpreter: all that Python says goes to the server's log. They define `log`, of a
# level that is Redis's, and a text.

def one_line(text):
    """The text as bytes that cannot break out of a reply, an INFO line or a C string."""
    return str(text).encode(errors="replace").translate(ONE_LINE)


ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")


def log_traceback(text):
    """To be called in an `except` block."""
    import traceback
    log("warning", f"{text}\n{traceback.format_exc()}")


def redirect_logs():
    """Everything that Python would write to standard error goes to the server's log instead."""
    import logging
    import sys
    import threading
    import traceback

    class RedisHandler(logging.Handler):
        def emit(self, record):
            level = "warning" if record.levelno >= logging.WARNING else "notice"
            log("debug" if record.levelno < logging.INFO else level, self.format(record))

    def log_uncaught(what, exception):
        log("warning", f"{what}\n" + "".join(traceback.format_exception(exception)))

    logging.basicConfig(handlers=[RedisHandler()], level=logging.INFO, format="%(message)s")
    threading.excepthook = lambda args: log_uncaught("a Python thread ended", args.exc_value)
    sys.unraisablehook = lambda args: log_uncaught(f"Exception ignored in {args.object!r}", args.exc_value)
