# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio: `chain.Chain`, with await."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Self

import redis.asyncio
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.lock import Lock
from redis.commands.core import AsyncCoreCommands, AsyncScript
from redis.commands.redismodules import AsyncRedisModuleCommands
from redis.event import EventDispatcher

from chainredis.client.async_courier import AsyncCourier
from chainredis.client.async_pipelines import AsyncChainPipeline
from chainredis.client.batches import Batch, Pairs, batches, pairs_of
from chainredis.client.errors import Fate, NotWritten, Unknown, fate_of, raise_if_all_refused
from chainredis.client.once import is_without_once
from chainredis.client.routing import (
    Role,
)
from chainredis.client.subscriptions import AsyncRoamingConnection, AsyncRoamingSSLConnection, async_roaming_retries

Action = Callable[["redis.asyncio.Redis"], Awaitable[Any]]


class AsyncChain(AsyncRedisModuleCommands, AsyncCoreCommands):  # type: ignore[misc] # as redis.asyncio.Redis
    """A chain, for asyncio: the commands of redis.asyncio.Redis, each sent to the member that it is for.

    Arguments and errors are those of `Chain`. One client is for one event loop; `async with`, or `aclose` at the end.
    """

    _is_async_client: Literal[True] = True

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout: float = 10.0,
        reads: str | None = None,
        exactly_once: bool = True,
        **options: Any,
    ) -> None:
        self._courier = AsyncCourier(addresses, timeout, reads, options, exactly_once=exactly_once)
        self._client_id = secrets.token_hex(16)
        self.response_callbacks = self._courier.response_callbacks
        self._event_dispatcher = EventDispatcher()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. The client may still be used, and then makes new ones."""
        await self._courier.close()

    # --------------------------------------------------------------------------------------------- commands

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to the member that it is for. Returns what redis.asyncio.Redis would return."""
        table = await self._courier.table()
        if table.is_once(args):
            try:
                return await self._courier.deliver_once(args, options)
            except redis.ResponseError as error:
                if not is_without_once(error):
                    raise
                self._courier.do_without_once()

        def send(node: redis.asyncio.Redis) -> Any:
            return node.execute_command(*args, **options)  # type: ignore[no-untyped-call]

        return await self._courier.deliver(table.role(args), send, repeatable=table.is_read(args))

    async def put(self, key: Any, value: Any) -> int:
        """MEMBER.PUT. Returns the update's sequence number once it is committed."""
        return int(await self.execute_command("MEMBER.PUT", key, value))

    async def delete_key(self, key: Any) -> int:
        """MEMBER.DEL. Returns the update's sequence number once it is committed."""
        return int(await self.execute_command("MEMBER.DEL", key))

    async def read(self, key: Any) -> Any:
        """READ, at the tail: the newest committed value, or None."""
        return await self.execute_command("READ", key)

    async def put_many(self, updates: Pairs) -> list[int]:
        """As `Chain.put_many`."""
        pairs = pairs_of(updates)
        sns: list[int] = []
        for batch in batches(pairs, self._client_id):
            await self._put_batch(batch)
            sns += batch.check(pairs)
        return sns

    async def _put_batch(self, batch: Batch) -> None:
        def send(node: redis.asyncio.Redis) -> Any:
            return self._send_batch(node, batch.commands())

        while batch.is_pending:
            try:
                batch.take(await self._courier.deliver(Role.HEAD, send, repeatable=False))
            except NotWritten as error:
                batch.refuse(error)
            if batch.newest is not None:
                batch.settle(await self._committed(batch.newest, batch.epoch))

    async def _committed(self, sn: int, epoch: int) -> int | None:
        """What MEMBER.WAIT says; None if that is not that `sn` is committed."""
        deadline = self._courier.deadline()

        async def wait(node: redis.asyncio.Redis) -> Any:
            left_ms = max(1, int(1000 * deadline.left_s))
            return await node.execute_command("MEMBER.WAIT", sn, left_ms, epoch)  # type: ignore[no-untyped-call]

        try:
            return int(
                await self._courier.deliver(Role.HEAD, wait, repeatable=True, settles=True, deadline=deadline)
            )
        except (NotWritten, Unknown, redis.ResponseError):
            return None

    async def _send_batch(self, node: redis.asyncio.Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
        """The replies, or those that came before the connection broke: redis-py has closed it then.

        Raises the refusal if all updates were refused.
        """
        replies: list[Any] = []
        connection: Any = await node.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not replies and fate_of(error) is not Fate.LOST:
                raise
        finally:
            await node.connection_pool.release(connection)
        raise_if_all_refused(replies[1:])
        return replies

    # ------------------------------------------------------------------ what redis.asyncio.Redis has besides

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncChainPipeline:
        """A pipeline of redis-py, which is sent to the head. Its `execute` raises what a command raises."""
        return AsyncChainPipeline(self._courier, transaction=transaction, shard_hint=shard_hint)

    async def transaction(self, func: Callable[[AsyncChainPipeline], Any], *watches: Any, **kwargs: Any) -> Any:
        """As `Chain.transaction`."""
        value_from_callable = kwargs.pop("value_from_callable", False)
        watch_delay = kwargs.pop("watch_delay", None)
        async with self.pipeline(True, kwargs.pop("shard_hint", None)) as pipe:
            while True:
                try:
                    if watches:
                        await pipe.watch(*watches)
                    value = func(pipe)
                    if isinstance(value, Awaitable):
                        value = await value
                    replies = await pipe.execute()
                except redis.WatchError:
                    await asyncio.sleep(watch_delay or 0)
                else:
                    return value if value_from_callable else replies

    def pubsub(self, **options: Any) -> redis.asyncio.client.PubSub:
        """As `Chain.pubsub`."""
        courier = self._courier
        secure, plain = AsyncRoamingSSLConnection, AsyncRoamingConnection
        pool_of_its_own = ConnectionPool(
            connection_class=secure if courier.is_secure else plain,
            **courier.options,
            retry=async_roaming_retries(courier.timeout_s),
            find_place=courier.listening_place,
        )
        return redis.asyncio.client.PubSub(pool_of_its_own, **options)

    def lock(self, name: str, *args: Any, lock_class: Any = None, **options: Any) -> Lock:
        """A lock of redis-py, with the arguments of redis.asyncio.Redis.lock."""
        lock_class = lock_class or Lock
        lock: Lock = lock_class(self, name, *args, **options)
        return lock

    def register_script(self, script: Any) -> AsyncScript:  # type: ignore[override] # as redis-py's own
        """A script of redis-py: calling it runs it at the head, where it is loaded if that is necessary."""
        return AsyncScript(self, script)  # type: ignore[arg-type] # which asks for no more than a chain has

    def get_encoder(self) -> Any:
        return self._courier.any_node().get_encoder()  # type: ignore[no-untyped-call]

    def get_connection_kwargs(self) -> dict[str, Any]:
        return dict(self._courier.options)

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """As of redis.asyncio.Redis."""
        self.response_callbacks[command] = callback
