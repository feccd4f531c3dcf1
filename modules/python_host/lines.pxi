# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The way to the package chainredis, and texts for the server's log and for replies; included by compile units with an
# interpreter. The unit defines `log(level, text)`, where `level` is one of Redis's. This file must not import the
# package chainredis, whose import may be what failed.

from modules.python_host.environment cimport Environment, environment_find

ONE_LINE = bytes.maketrans(b"\r\n\0", b"   ")


def find_package():
    """Make the package chainredis importable."""
    cdef Environment environment
    import sys
    environment_find(&environment)
    root = (<bytes>environment.root).decode(errors="surrogateescape")
    if root not in sys.path:
        sys.path.append(root)       # the last one: an installed package lies among others, which must not hide Python's


def one_line(text):
    """Returns the text as bytes without line breaks and zero bytes, which would end a reply, an INFO line or a C
    string.
    """
    return str(text).encode(errors="replace").translate(ONE_LINE)


def log_traceback(text):
    """Log `text` and the traceback of the current exception. To be called in an `except` block."""
    import traceback
    log("warning", f"{text}\n{traceback.format_exc()}")
