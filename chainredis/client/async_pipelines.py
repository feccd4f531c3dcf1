# SPDX-License-Identifier: Apache-2.0
"""Pipelines and transactions at the head, for asyncio: `pipelines.ChainPipeline`, with await."""

from typing import Any

import redis.asyncio

from chainredis.client.async_courier import AsyncCourier
from chainredis.client.errors import Fate, Unknown, fate_of, is_refusal
from chainredis.client.pipelines import Commands, raise_if_nothing_was_done
from chainredis.client.routing import Role


class AsyncChainPipeline(redis.asyncio.client.Pipeline):
    """A pipeline of redis-py for asyncio. It behaves as `ChainPipeline`."""

    def __init__(self, courier: AsyncCourier, *, transaction: bool, shard_hint: str | None = None) -> None:
        self._courier = courier
        pool = courier.any_node().connection_pool
        super().__init__(pool, courier.response_callbacks, transaction, shard_hint)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As `ChainPipeline.execute`."""
        stack: Commands = list(self.command_stack)  # type: ignore[arg-type]
        if self.connection or not stack:
            replies = await self._execute_here()
        elif self.is_transaction or self.explicit_transaction:
            replies = await self._execute_anywhere(stack, whole=True)
        else:
            replies = await self._execute_in_parts(stack)
        if raise_on_error:
            if any(map(is_refusal, replies)):
                raise Unknown("some of these commands were carried out, and the head changed before the others")
            self.raise_first_error(stack, replies)  # type: ignore[arg-type]
        return replies

    async def _execute_in_parts(self, stack: Commands) -> list[Any]:
        """Without a transaction each command stands for itself: those that were refused are sent again."""
        replies = await self._execute_anywhere(stack, whole=False)
        while refused := [number for number, reply in enumerate(replies) if is_refusal(reply)]:
            again = await self._execute_anywhere([stack[number] for number in refused], whole=False)
            for number, reply in zip(refused, again, strict=True):
                replies[number] = reply
        return replies

    async def _execute_anywhere(self, stack: Commands, *, whole: bool) -> list[Any]:
        scripts, explicit = set(self.scripts), self.explicit_transaction
        table = await self._courier.table()
        reads = [table.is_read(args) for args, _ in stack]

        async def attempt(node: redis.asyncio.Redis) -> list[Any]:
            self.connection_pool = node.connection_pool
            self.command_stack, self.scripts, self.explicit_transaction = list(stack), set(scripts), explicit
            replies: list[Any] = await super(AsyncChainPipeline, self).execute(raise_on_error=False)
            raise_if_nothing_was_done(replies, reads if whole else [])
            return replies

        replies: list[Any] = await self._deliver(attempt, repeatable=all(reads))
        return replies

    # ------------------------------------------------------------------------------------------- after WATCH

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """WATCH, and what is executed at once after it."""
        first = self.connection is None
        is_read = (await self._courier.table()).is_read(args)

        async def attempt(node: redis.asyncio.Redis) -> Any:
            self.connection_pool = node.connection_pool
            try:
                return await super(AsyncChainPipeline, self).immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except redis.RedisError:
                await self._let_go()
                raise

        if first:
            return await self._deliver(attempt, repeatable=is_read)
        try:
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            return await self._raise_here(error, repeatable=is_read)

    async def _execute_here(self) -> list[Any]:
        try:
            replies: list[Any] = await super().execute(raise_on_error=False)
            raise_if_nothing_was_done(replies, [])
        except redis.RedisError as error:
            await self._raise_here(error, repeatable=False)
        return replies

    async def _raise_here(self, error: redis.RedisError, *, repeatable: bool) -> None:
        """Raise what an error means that cannot be followed: the watched keys are those of this connection."""
        fate = fate_of(error)
        address = self.connection_pool.connection_kwargs["host"], self.connection_pool.connection_kwargs["port"]
        if fate is Fate.LOST and not repeatable:
            raise Unknown(f"the answer is lost: {error.__context__ or error}") from error
        if fate is Fate.UNKNOWN:
            raise Unknown(str(error)) from error
        if fate is not Fate.FINAL:
            await self.reset()  # type: ignore[no-untyped-call]
            await self._courier.follow(address, error)
            raise redis.WatchError(f"nothing was written, and the head changed: {error}") from error
        raise error

    async def _deliver(self, attempt: Any, *, repeatable: bool) -> Any:
        return await self._courier.deliver(Role.HEAD, attempt, repeatable=repeatable)

    async def _let_go(self) -> None:
        """Give the connection back. What was queued before WATCH stays."""
        connection, self.connection = self.connection, None
        self.watching = False
        if connection:
            await connection.disconnect()
            await self.connection_pool.release(connection)
