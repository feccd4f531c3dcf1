# SPDX-License-Identifier: Apache-2.0
"""The master's side of a member's lifeline (docs/protocol.md, "Lifelines")."""

import contextlib
import hmac
import secrets
import socket
from collections.abc import Callable
from typing import Protocol

from chainredis.protocol.errors import Closed, Rejected, Silent
from chainredis.protocol.view import Endpoint
from chainredis.transport.member_client import KEEPALIVE, mac
from chainredis.transport.settings import Settings

# Within this time after its lifeline, an ended process closes its port, too.
ENDING_S = 0.02


class Line(Protocol):
    """A lifeline that is held."""

    def await_end(self) -> None:
        """Waits, then raises Closed if the process has ended, or Silent if the lifeline was lost in another way."""

    def is_refused(self, port: int) -> bool:
        """Returns True if nobody listens on this port of the same host."""

    def interrupt(self) -> None:
        """May be called from any thread: `await_end` raises Silent."""

    def close(self) -> None: ...


Hold = Callable[[Endpoint, str, str], Line]


class SocketLine:
    """A lifeline on a socket. Both sides prove the chain's secret; then it is held. Raises MemberError.

    endpoint: of the lifelines, not of the server. run_id: of the process that has to answer.
    """

    def __init__(self, endpoint: Endpoint, secret: str, run_id: str, settings: Settings) -> None:
        self._endpoint = endpoint
        self._connect_timeout_s = settings.connect_timeout_s
        self._is_over = False
        try:
            self._socket = socket.create_connection((endpoint.host, endpoint.port), settings.connect_timeout_s)
        except OSError as error:
            raise self._lost(error) from error
        try:
            self._peer = self._socket.getpeername()
            self._socket.settimeout(settings.answer_timeout_s)
            self._prove(bytes.fromhex(secret), run_id)
            self._keep()
        except OSError as error:
            self.close()
            raise self._lost(error) from error
        except Rejected:
            self.close()
            raise

    def _prove(self, key: bytes, run_id: str) -> None:
        nonce = secrets.token_hex(16)
        self._socket.sendall((nonce + mac(key, "hold", nonce, run_id)).encode())
        expected = mac(key, "held", nonce, run_id).encode()
        with self._socket.makefile("rb") as stream:
            answer = stream.read(len(expected))
        if not hmac.compare_digest(answer, expected):
            raise Rejected(f"{self._endpoint}: what listens there is not the member's lifeline")

    def _keep(self) -> None:
        """TCP notices that a host is gone; that proves nothing of the process."""
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            self._socket.setsockopt(socket.IPPROTO_TCP, name, value)

    def await_end(self) -> None:
        """The kernel ends the stream when the process ends. A reset may come from a firewall, and proves nothing."""
        try:
            while self._socket.recv(64):
                pass
        except OSError as error:
            raise self._lost(error) from error
        if self._is_over:
            raise Silent(f"{self._endpoint}: the lifeline was let go of")
        raise Closed(f"{self._endpoint}: the lifeline has ended")

    def is_refused(self, port: int) -> bool:
        """The kernel closes the sockets of an ended process one after the other, and this port perhaps after the
        lifeline. It then resets the connections that wait in the port's queue: a reset means to look again.
        """
        try:
            try:
                self._wait_in_queue(port)
            except ConnectionResetError:
                self._wait_in_queue(port)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass  # a server that lives says nothing
        return False

    def _wait_in_queue(self, port: int) -> None:
        """Returns, or raises an OSError, when the connection ends or ENDING_S is over."""
        with socket.socket(self._socket.family) as connection:  # no name is looked up
            connection.settimeout(self._connect_timeout_s)
            connection.connect((self._peer[0], port, *self._peer[2:]))
            connection.settimeout(ENDING_S)
            connection.recv(1)

    def interrupt(self) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _lost(self, error: OSError) -> Silent:
        return Silent(f"{self._endpoint}: the lifeline cannot be held ({error})")
