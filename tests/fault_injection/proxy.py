# SPDX-License-Identifier: Apache-2.0
"""Proxies in front of servers. They can hold, slow and break off connections, by peer and by direction.

A cut is like that of a network: bytes and the ends of connections wait until it heals. When the server ends, its proxy
closes all connections and refuses new ones.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from threading import Thread
from typing import Any, Self

from chainredis.local_cluster.ports import HOST, free_port
from chainredis.protocol.view import Endpoint

CHUNK = 64 * 1024
CALL_TIMEOUT_S = 10
LOOK_EVERY_S = 0.01
# The proof on a connection names the peer (docs/protocol.md, "Proof of the secret").
PROOF = re.compile(rb"CHAIN\.PROVE\r\n\$64\r\n[0-9a-f]{64}\r\n\$40\r\n([0-9a-f]{40})\r\n")
PROOF_WITHIN = 4096


class Way(Enum):
    """The direction of bytes, as seen from the server behind the proxy."""

    IN = "in"
    OUT = "out"


@dataclass(eq=False)
class Link:
    """One connection through a proxy. peer: the proven run_id; empty before the proof, and for clients."""

    inner: asyncio.StreamWriter
    outer: asyncio.StreamWriter
    peer: str = ""
    _start: bytes = b""

    def overhear(self, data: bytes) -> None:
        """Look for the proof in the data, until it is found or too many bytes have passed."""
        if self.peer or len(self._start) > PROOF_WITHIN:
            return
        self._start += data
        if proof := PROOF.search(self._start):
            self.peer = proof[1].decode()

    def abort(self) -> None:
        self.inner.transport.abort()
        self.outer.transport.abort()


@dataclass
class Proxy:
    """The proxy in front of one server. Its methods may be called from any thread but the network's."""

    port: int
    server_port: int
    _call: Callable[[Coroutine[Any, Any, None]], None]
    _listener: asyncio.Server | None = None
    _links: set[Link] = field(default_factory=set)
    # The peers and directions whose bytes are held; the peer "" means all.
    _cuts: set[tuple[str, Way]] = field(default_factory=set)
    _delay_s: float = 0
    _bytes_per_s: float = float("inf")
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _looked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(HOST, self.port)

    def cut(self, *ways: Way, peer: str = "") -> None:
        """Hold bytes in these directions (none named: both), of one peer or of all."""
        self._call(self._change(lambda: self._cuts.update((peer, way) for way in ways or tuple(Way))))

    def slow(self, delay_s: float = 0, bytes_per_s: float = float("inf")) -> None:
        def change() -> None:
            self._delay_s, self._bytes_per_s = delay_s, bytes_per_s

        self._call(self._change(change))

    def heal(self) -> None:
        """End all cuts and delays. Bytes that were held continue."""

        def change() -> None:
            self._cuts.clear()
            self._delay_s, self._bytes_per_s = 0, float("inf")

        self._call(self._change(change))

    def break_off(self, peer: str | None = None) -> None:
        """Reset the connections of one peer, or of all. New connections are possible."""

        def change() -> None:
            for link in self._links:
                if peer in (None, link.peer):
                    link.abort()

        self._call(self._change(change))

    async def _change(self, change: Callable[[], None]) -> None:
        async with self._changed:
            change()
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------ in the network's thread

    async def stand_in(self) -> None:
        """Listen while the server listens."""
        try:
            while True:
                if not await self._watch_server():
                    self._looked.set()
                    await self._passable("", Way.OUT)
                    await self._hang_up()
                    await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._hang_up()

    async def first_look(self) -> None:
        """Wait until it listens, or has found that the server does not."""
        await self._looked.wait()

    async def _watch_server(self) -> bool:
        """Hold a connection to the server until it ends. Returns False if the server does not listen."""
        try:
            reader, writer = await asyncio.open_connection(HOST, self.server_port)
        except OSError:
            return False
        try:
            if self._listener is None:
                self._listener = await asyncio.start_server(self._serve, HOST, self.port, start_serving=False)
                await self._listener.start_serving()
            self._looked.set()
            await _read(reader)
            return True
        finally:
            writer.transport.abort()

    async def _hang_up(self) -> None:
        """Accept nobody any more, then close: a closed listener loses a connection that it has just accepted."""
        listener, self._listener = self._listener, None
        if listener:
            for each in listener.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
            await asyncio.sleep(0)
            listener.close()

    async def _serve(self, reader: asyncio.StreamReader, outer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                await self._relay(reader, outer, *await asyncio.open_connection(HOST, self.server_port))
            finally:
                outer.transport.abort()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        outer: asyncio.StreamWriter,
        inner_reader: asyncio.StreamReader,
        inner: asyncio.StreamWriter,
    ) -> None:
        link = Link(inner, outer)
        self._links.add(link)
        pumps = self._pump(link, Way.IN, reader, inner), self._pump(link, Way.OUT, inner_reader, outer)
        try:
            await asyncio.gather(*pumps)
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump(self, link: Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await _read(reader)
        while data:
            if way is Way.IN:
                link.overhear(data)
            await asyncio.sleep(self._delay_s + len(data) / self._bytes_per_s)
            await self._passable(link.peer, way)
            # Ignored: the end of a receiver that has gone arrives by the other direction, unless that is cut.
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
            data = await _read(reader)
        await self._passable(link.peer, way)
        writer.close()

    async def _passable(self, peer: str, way: Way) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not {(peer, way), ("", way)} & self._cuts)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK)
    except OSError:
        return b""


class Network:
    """A thread that runs proxies during the context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxies")
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def front(self, server_port: int) -> Proxy:
        """A new proxy. It listens already if the server does."""
        proxy = Proxy(free_port(), server_port, self._call)
        self._call(self._begin(proxy))
        return proxy

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    async def _begin(self, proxy: Proxy) -> None:
        self._tasks.append(asyncio.create_task(proxy.stand_in()))
        await proxy.first_look()

    async def _end(self) -> None:
        """End all tasks, also those that begin meanwhile: a listener may just have accepted a connection."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.sleep(0)  # lets each begin: only then it closes what it was given
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)  # lets transports close
