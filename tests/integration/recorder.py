# SPDX-License-Identifier: Apache-2.0
"""A relay in front of a port that keeps all bytes of both directions, as somebody in the network could."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint


class Recorder:
    """Passes on what comes to `endpoint`. heard: what has passed, in pieces."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server((HOST, 0))
        self._threads: list[threading.Thread] = []
        self.endpoint = Endpoint(*self._listener.getsockname())
        self.heard: list[bytes] = []
        self._start(self._listen)

    def close(self) -> None:
        """To be called when the server has ended, or nobody is connected."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _listen(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                self._start(self._relay, self._listener.accept()[0])

    def _relay(self, outer: socket.socket) -> None:
        with outer, contextlib.suppress(OSError), socket.create_connection((HOST, self._port)) as inner:
            back = threading.Thread(target=self._pass_on, args=(inner, outer), daemon=True)
            back.start()
            self._pass_on(outer, inner)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.heard.append(data)
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class OverheardCluster(Cluster):
    """A cluster whose members are reached through recorders, by each other and by the master."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._recorders: dict[Server, Recorder] = {}
        super().__init__(*arguments, **options)

    def endpoint_of(self, server: Server) -> Endpoint:
        if server not in self._recorders:
            self._recorders[server] = Recorder(server.link_endpoint.port)
        return self._recorders[server].endpoint

    @property
    def heard(self) -> bytes:
        return b"".join(piece for recorder in self._recorders.values() for piece in list(recorder.heard))

    def stop(self) -> None:
        super().stop()
        for recorder in self._recorders.values():
            recorder.close()
