# SPDX-License-Identifier: Apache-2.0
"""Pipelines and transactions at the head, for threads."""

from typing import Any

import redis

from chainredis.client.courier import Courier
from chainredis.client.errors import Fate, Unknown, fate_of, is_refusal
from chainredis.client.routing import Role

Commands = list[tuple[tuple[Any, ...], dict[str, Any]]]


class ChainPipeline(redis.client.Pipeline):
    """A pipeline of redis-py. It goes to another head as long as none of its commands was carried out.

    After WATCH it stays on its connection. When that head is the head no more, or the connection breaks before EXEC,
    nothing was written, and it raises redis.WatchError, as if a key had changed: watch and read again.
    """

    def __init__(self, courier: Courier, *, transaction: bool, shard_hint: str | None = None) -> None:
        self._courier = courier
        self._is_transaction = transaction
        pool = courier.any_node().connection_pool
        super().__init__(pool, courier.response_callbacks, transaction, shard_hint)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was queued. Returns the replies. If some commands were carried out and others were not, the replies
        say which, with raise_on_error False; otherwise that is Unknown.
        """
        stack: Commands = list(self.command_stack)
        if self.connection or not stack:
            replies = self._execute_here()
        elif self._is_transaction or self.explicit_transaction:
            replies = self._execute_anywhere(stack, whole=True)
        else:
            replies = self._execute_in_parts(stack)
        if raise_on_error:
            if any(map(is_refusal, replies)):
                raise Unknown("some of these commands were carried out, and the head changed before the others")
            self.raise_first_error(stack, replies)  # type: ignore[no-untyped-call]
        return replies

    def _execute_in_parts(self, stack: Commands) -> list[Any]:
        """Without a transaction each command stands for itself: those that were refused are sent again."""
        replies = self._execute_anywhere(stack, whole=False)
        while refused := [number for number, reply in enumerate(replies) if is_refusal(reply)]:
            again = self._execute_anywhere([stack[number] for number in refused], whole=False)
            for number, reply in zip(refused, again, strict=True):
                replies[number] = reply
        return replies

    def _execute_anywhere(self, stack: Commands, *, whole: bool) -> list[Any]:
        scripts, explicit = set(self.scripts), self.explicit_transaction
        reads = [self._courier.table().is_read(args) for args, _ in stack]

        def attempt(node: redis.Redis) -> list[Any]:
            self.connection_pool = node.connection_pool
            self.command_stack, self.scripts, self.explicit_transaction = list(stack), set(scripts), explicit
            replies: list[Any] = super(ChainPipeline, self).execute(raise_on_error=False)
            raise_if_nothing_was_done(replies, reads if whole else [])
            return replies

        replies: list[Any] = self._deliver(attempt, repeatable=all(reads))
        return replies

    # ------------------------------------------------------------------------------------------- after WATCH

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """WATCH, and what is executed at once after it."""
        first = self.connection is None
        is_read = self._courier.table().is_read(args)

        def attempt(node: redis.Redis) -> Any:
            self.connection_pool = node.connection_pool
            try:
                return super(ChainPipeline, self).immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except redis.RedisError:
                self._let_go()
                raise

        if first:
            return self._deliver(attempt, repeatable=is_read)
        try:
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            self._raise_here(error, repeatable=is_read)

    def _execute_here(self) -> list[Any]:
        try:
            replies: list[Any] = super().execute(raise_on_error=False)
            raise_if_nothing_was_done(replies, [])
        except redis.RedisError as error:
            self._raise_here(error, repeatable=False)
        return replies

    def _raise_here(self, error: redis.RedisError, *, repeatable: bool) -> None:
        """Raise what an error means that cannot be followed: the watched keys are those of this connection."""
        fate = fate_of(error)
        address = self.connection_pool.connection_kwargs["host"], self.connection_pool.connection_kwargs["port"]
        if fate is Fate.LOST and not repeatable:
            raise Unknown(f"the answer is lost: {error.__context__ or error}") from error
        if fate is Fate.UNKNOWN:
            raise Unknown(str(error)) from error
        if fate is not Fate.FINAL:
            self.reset()
            self._courier.follow(address, error)
            raise redis.WatchError(f"nothing was written, and the head changed: {error}") from error
        raise error

    def _deliver(self, attempt: Any, *, repeatable: bool) -> Any:
        return self._courier.deliver(Role.HEAD, attempt, repeatable=repeatable)

    def _let_go(self) -> None:
        """Give the connection back. What was queued before WATCH stays."""
        connection, self.connection = self.connection, None
        self.watching = False
        if connection:
            connection.disconnect()  # type: ignore[no-untyped-call]
            self.connection_pool.release(connection)


def raise_if_nothing_was_done(replies: list[Any], reads: list[bool]) -> None:
    """Raise the first refusal if all commands were refused, apart from those that only read."""
    done = [reply for reply, only_reads in zip(replies, reads or [False] * len(replies), strict=True) if not only_reads]
    refusals = [reply for reply in replies if is_refusal(reply)]
    if refusals and all(map(is_refusal, done)):
        raise refusals[0]
