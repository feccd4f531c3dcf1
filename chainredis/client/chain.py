# SPDX-License-Identifier: Apache-2.0
"""The client for threads. What is done when a member does not answer is decided in `routing`."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import redis
from redis.commands.core import CoreCommands, Script
from redis.commands.redismodules import RedisModuleCommands
from redis.connection import ConnectionPool
from redis.event import EventDispatcher

from chainredis.client.batches import Batch, Pairs, batches, pairs_of
from chainredis.client.courier import Courier
from chainredis.client.errors import Fate, NotWritten, Unknown, fate_of, raise_if_all_refused
from chainredis.client.once import is_without_once
from chainredis.client.pipelines import ChainPipeline
from chainredis.client.routing import Role
from chainredis.client.subscriptions import RoamingConnection, RoamingSSLConnection, roaming_retries

Action = Callable[["redis.Redis"], Any]


class Chain(RedisModuleCommands, CoreCommands):
    """A chain, for threads: the commands of redis.Redis, each sent to the member that it is for.

    addresses: `host:port` of some members; better of all. timeout: for how many seconds a command is brought to
    further members as long as all refuse it. reads: who answers commands that only read. "members" are all in turn,
    which is linearizable in a chain of kind `all`; "tail"; "head". None is "members" in a chain of kind `all`, and
    "tail" in one of kind `put`. options: those of redis.Redis for a connection, such as password, ssl,
    decode_responses, socket_timeout (seconds for one answer, by default as `timeout`), socket_connect_timeout (1).

    In a chain of kind `all` a command that writes is carried out once, and its answer is asked for again until it comes
    or the timeout is over (MEMBER.ONCE). With exactly_once False, in pipelines and transactions, of commands that
    block, and in a chain of kind `put`, what may have been carried out is never repeated. Errors: see
    `chainredis.client`.
    """

    _is_async_client: Literal[False] = False

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout: float = 10.0,
        reads: str | None = None,
        exactly_once: bool = True,
        **options: Any,
    ) -> None:
        self._courier = Courier(addresses, timeout, reads, options, exactly_once=exactly_once)
        self._client_id = secrets.token_hex(16)
        self.response_callbacks = self._courier.response_callbacks
        self._event_dispatcher = EventDispatcher()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. The client may still be used, and then makes new ones."""
        self._courier.close()

    # --------------------------------------------------------------------------------------------- commands

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to the member that it is for. Returns what redis.Redis would return."""
        table = self._courier.table()
        if table.is_once(args):
            try:
                return self._courier.deliver_once(args, options)
            except redis.ResponseError as error:
                if not is_without_once(error):
                    raise
                self._courier.do_without_once()

        def send(node: redis.Redis) -> Any:
            return node.execute_command(*args, **options)  # type: ignore[no-untyped-call]

        return self._courier.deliver(table.role(args), send, repeatable=table.is_read(args))

    def put(self, key: Any, value: Any) -> int:
        """MEMBER.PUT. Returns the update's sequence number once it is committed."""
        return int(self.execute_command("MEMBER.PUT", key, value))

    def delete_key(self, key: Any) -> int:
        """MEMBER.DEL. Returns the update's sequence number once it is committed."""
        return int(self.execute_command("MEMBER.DEL", key))

    def read(self, key: Any) -> Any:
        """READ, at the tail: the newest committed value, or None."""
        return self.execute_command("READ", key)

    def put_many(self, updates: Pairs) -> list[int]:
        """MEMBER.PUT of many keys, in batches that are sent at once. Returns the sequence numbers, in the order given,
        once all updates are committed.

        NotWritten and Unknown name the keys that it concerns; all others were written, up to the first batch with an
        error.
        """
        pairs = pairs_of(updates)
        sns: list[int] = []
        for batch in batches(pairs, self._client_id):
            self._put_batch(batch)
            sns += batch.check(pairs)
        return sns

    def _put_batch(self, batch: Batch) -> None:
        def send(node: redis.Redis) -> Any:
            return self._send_batch(node, batch.commands())

        while batch.is_pending:
            try:
                batch.take(self._courier.deliver(Role.HEAD, send, repeatable=False))
            except NotWritten as error:
                batch.refuse(error)
            if batch.newest is not None:
                batch.settle(self._committed(batch.newest, batch.epoch))

    def _committed(self, sn: int, epoch: int) -> int | None:
        """What MEMBER.WAIT says; None if that is not that `sn` is committed."""
        deadline = self._courier.deadline()

        def wait(node: redis.Redis) -> Any:
            left_ms = max(1, int(1000 * deadline.left_s))
            return node.execute_command("MEMBER.WAIT", sn, left_ms, epoch)  # type: ignore[no-untyped-call]

        try:
            return int(
                self._courier.deliver(Role.HEAD, wait, repeatable=True, settles=True, deadline=deadline)
            )
        except (NotWritten, Unknown, redis.ResponseError):
            return None

    def _send_batch(self, node: redis.Redis, commands: list[tuple[Any, ...]]) -> list[Any]:
        """The replies, or those that came before the connection broke: redis-py has closed it then.

        Raises the refusal if all updates were refused.
        """
        replies: list[Any] = []
        connection: Any = node.connection_pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if not replies and fate_of(error) is not Fate.LOST:
                raise
        finally:
            node.connection_pool.release(connection)
        raise_if_all_refused(replies[1:])
        return replies

    # ------------------------------------------------------------------------- what redis.Redis has besides

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ChainPipeline:
        """A pipeline of redis-py, which is sent to the head. Its `execute` raises what a command raises."""
        return ChainPipeline(self._courier, transaction=transaction, shard_hint=shard_hint)

    def transaction(self, func: Callable[[ChainPipeline], Any], *watches: Any, **kwargs: Any) -> Any:
        """As redis.Redis.transaction: `func` is called again if nothing was written, and never after Unknown."""
        value_from_callable = kwargs.pop("value_from_callable", False)
        watch_delay = kwargs.pop("watch_delay", None)
        pipe = self.pipeline(True, kwargs.pop("shard_hint", None))
        with pipe:
            while True:
                try:
                    if watches:
                        pipe.watch(*watches)  # type: ignore[no-untyped-call]
                    value = func(pipe)
                    replies = pipe.execute()
                except redis.WatchError:
                    time.sleep(watch_delay or 0)
                else:
                    return value if value_from_callable else replies

    def pubsub(self, **options: Any) -> redis.client.PubSub:
        """A PubSub of redis-py at a member, or at the tail of a chain of kind `put`. When the connection breaks it
        subscribes again at a member that lives; what is published in between is missed.
        """
        courier = self._courier
        secure, plain = RoamingSSLConnection, RoamingConnection
        pool_of_its_own = ConnectionPool(
            connection_class=secure if courier.is_secure else plain,
            **courier.options,
            retry=roaming_retries(courier.timeout_s),
            find_place=courier.listening_place,
        )
        return redis.client.PubSub(pool_of_its_own, **options)

    def lock(self, name: str, *args: Any, lock_class: Any = None, **options: Any) -> redis.lock.Lock:
        """A lock of redis-py, with the arguments of redis.Redis.lock."""
        lock: redis.lock.Lock = (lock_class or redis.lock.Lock)(self, name, *args, **options)
        return lock

    def register_script(self, script: Any) -> Script:
        """A script of redis-py: calling it runs it at the head, where it is loaded if that is necessary."""
        return Script(self, script)  # type: ignore[arg-type] # which asks for no more than a chain has

    def get_encoder(self) -> Any:
        return self._courier.any_node().get_encoder()

    def get_connection_kwargs(self) -> dict[str, Any]:
        return dict(self._courier.options)

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """As of redis.Redis."""
        self.response_callbacks[command] = callback
