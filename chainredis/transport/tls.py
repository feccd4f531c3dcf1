# SPDX-License-Identifier: Apache-2.0
"""TLS of connections that are made here: whom to trust, what to show, and what a failure means."""

import logging
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.connection import Connection

log = logging.getLogger(__name__)

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1, "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip


@dataclass(frozen=True)
class Tls:
    """Paths of PEM files, and the other `tls-*` settings of a server. Empty: not given.

    Whoever names authorities, in a file or a folder, trusts whom these have certified, whatever name the certificate
    has, as Redis does on replication links. Without, it is the machine's authorities, and then the name counts.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    ca_dir: str = ""
    password: str = field(default="", repr=False)
    protocols: str = ""
    ciphers: str = ""

    def __str__(self) -> str:
        """What was named, for people."""
        return ", ".join(filter(None, (self.ca, self.ca_dir, self.cert, self.key, self.protocols, self.ciphers)))

    def context(self) -> ssl.SSLContext:
        """The context for a connection that is made now. OSError if a file is missing or cannot be used.

        Files that have changed are read again. If they cannot be used, what was read before is: a certificate and its
        key are not renewed at one time.
        """
        stamps = [_stamp(path) for path in (self.ca, self.cert, self.key)]
        with _lock:
            before = _contexts.get(self)
            if before and before[0] == stamps:
                return before[1]
            try:
                context = self._read()
            except (OSError, ValueError) as error:
                if not before:
                    raise OSError(f"TLS: cannot use {self}: {error}") from error
                log.warning("TLS: cannot use %s: %s: what was read before is used", self, error)
                context = before[1]
            _contexts[self] = stamps, context
            return context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = not (self.ca or self.ca_dir)
        if context.check_hostname:
            context.load_default_certs()
        else:
            context.load_verify_locations(self.ca or None, self.ca_dir or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None, self.password)  # without a text it asks at a terminal
        if named := [version for name, version in VERSIONS.items() if name in self.protocols.split()]:
            context.minimum_version, context.maximum_version = min(named), max(named)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


_lock = threading.Lock()
_contexts: dict[Tls, tuple[list[tuple[int, ...]], ssl.SSLContext]] = {}


def _stamp(path: str) -> tuple[int, ...]:
    """What changes when a file is written or replaced. Empty: there is no such file."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_ctime_ns


class TlsConnection(Connection):
    """A connection of redis-py with TLS. redis-py's own would trust the machine's authorities beside the named ones."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        self._tls = tls
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> socket.socket:
        connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        try:
            connected.settimeout(self.socket_connect_timeout)
            secured = self._tls.context().wrap_socket(connected, server_hostname=self.host)
            secured.settimeout(self.socket_timeout)
        except TimeoutError as error:
            connected.close()
            raise ssl.SSLError("no answer in time: perhaps that is the port without TLS") from error
        except BaseException:
            connected.close()
            raise
        return secured


def days_left(secured: ssl.SSLSocket) -> float | None:
    """For how many days the certificate of the other side is still valid. None if that is not known."""
    ends = (secured.getpeercert() or {}).get("notAfter")
    return (ssl.cert_time_to_seconds(ends) - time.time()) / 86400 if isinstance(ends, str) else None


def why(error: ssl.SSLError) -> str:
    """Why TLS has failed, for people."""
    reason, library = (getattr(error, name, None) for name in ("reason", "library"))  # only OpenSSL's own have them
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: its certificate is not accepted: {error.verify_message}"
        case _ if isinstance(error, ssl.SSLEOFError) or library == "SYS":   # it ended the connection, or reset it
            return "TLS: it closed the connection: perhaps it wants another certificate, or speaks no TLS there"
        case _ if reason in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"):
            return "TLS: it does not speak it there: perhaps that is the port without TLS"
        case _ if reason:
            return f"TLS: {reason.lower().replace('_', ' ')}"
    return f"TLS: {error.args[-1]}"     # str() of an error of this module's own would show a tuple
