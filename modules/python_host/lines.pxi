# cython: language_level=3
# Included by units with an interpreter: texts for the server's log and for replies. The unit defines `log`, which takes
# one of Redis's levels and a text. Nothing here needs the package chainredis, which may be what cannot be imported.

ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")


def one_line(text):
    """The text as bytes that cannot break out of a reply, an INFO line or a C string."""
    return str(text).encode(errors="replace").translate(ONE_LINE)


def log_traceback(text):
    """To be called in an `except` block."""
    import traceback
    log("warning", f"{text}\n{traceback.format_exc()}")
