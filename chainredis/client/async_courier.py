# SPDX-License-Identifier: Apache-2.0
"""Carries out the plans of `routing` for asyncio: `courier.Courier`, with await."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import redis.asyncio
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chainredis.client.commands import CommandTable, once_names, read_names
from chainredis.client.connections import AsyncChainConnection, AsyncChainSSLConnection, pool_options
from chainredis.client.once import FORGET_WITHIN_S, Places
from chainredis.client.routing import (
    Address,
    Answers,
    Ask,
    Deadline,
    Follower,
    Plan,
    Reply,
    Role,
    Route,
    Send,
    Step,
    View,
    addresses_of,
    deliver,
    view_words,
)

Action = Callable[[redis.asyncio.Redis], Awaitable[Any]]


class AsyncCourier:
    """Brings commands to members, as `Courier` does."""

    def __init__(
        self,
        addresses: Sequence[str],
        timeout_s: float,
        reads: str | None,
        options: dict[str, Any],
        *,
        exactly_once: bool = True,
    ) -> None:
        self.timeout_s = timeout_s
        self.is_secure = bool(options.pop("ssl", False))
        self.options = pool_options(options, timeout_s)
        self.route = Route(addresses_of(addresses))
        self.response_callbacks: Any = None
        self._reads = Role(reads) if reads else None
        self._table: CommandTable | None = None
        self._nodes: dict[Address, redis.asyncio.Redis] = {}
        self._asking = asyncio.Lock()
        self._asked = 0
        self._once = exactly_once
        self._places = Places()
        self.response_callbacks = self.any_node().response_callbacks

    async def close(self) -> None:
        with contextlib.suppress(redis.RedisError, TimeoutError):
            async with asyncio.timeout(FORGET_WITHIN_S):
                await self._leave_places()
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.connection_pool.disconnect()

    async def _leave_places(self) -> None:
        commands = self._places.leave()
        head = self.route.place(Role.HEAD)
        if not commands or head is None:
            return
        pool = self.node(head).connection_pool
        connection: Any = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                await connection.read_response()
        finally:
            await connection.disconnect()
            await pool.release(connection)

    def deadline(self) -> Deadline:
        return Deadline(self.timeout_s, time.monotonic)

    async def deliver(
        self,
        role: Role,
        action: Action,
        *,
        repeatable: bool,
        settles: bool = False,
        once: bool = False,
        deadline: Deadline | None = None,
    ) -> Any:
        """Bring one command to the member in this role; see `routing.deliver`."""
        deadline = deadline or self.deadline()
        plan = deliver(self.route, role, deadline, repeatable=repeatable, settles=settles, once=once)
        return await self._run(plan, action)

    async def deliver_once(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Bring one command to the head, again and again until it answers: it is carried out once.

        Without an answer in time it may have been carried out: Unknown.
        """
        place = self._places.take()

        async def send(node: redis.asyncio.Redis) -> Any:
            connection: Any = await node.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_command(*place.words(args))
                return await node.parse_response(connection, args[0], **options)
            except redis.ResponseError:
                raise
            except BaseException:
                place.is_clean = False
                raise
            finally:
                await node.connection_pool.release(connection)

        try:
            return await self.deliver(Role.HEAD, send, repeatable=True, once=True)
        finally:
            self._places.give_back(place)

    async def follow(self, address: Address, error: redis.RedisError) -> None:
        """Find out who is the head now that `address` has refused a command."""
        await self._run(Follower(self.route, Role.HEAD).follow(address, error), _sends_nothing)

    def any_node(self) -> redis.asyncio.Redis:
        """For what all nodes have in common, such as the encoder."""
        return self.node(self.route.given[0])

    # ------------------------------------------------------------------------------------ steps of a plan

    async def _run(self, plan: Plan, action: Action) -> Any:
        """Carry out a plan; `action` sends the command to a node, and returns the reply."""
        try:
            step = next(plan)
            while True:
                step = plan.send(await self._perform(step, action))
        except StopIteration as end:
            return end.value

    async def _perform(self, step: Step, action: Action) -> Any:
        if isinstance(step, Ask):
            return await self._ask(step)
        assert isinstance(step, Send)
        try:
            return Reply(await action(self.node(step.address)))
        except redis.RedisError as error:
            return error

    async def _ask(self, step: Ask) -> bool:
        """One task asks for all that come meanwhile."""
        asked_before = self._asked
        async with self._asking:
            if self._asked == asked_before:
                await self._ask_all(step)
                self._asked += 1
        return self.route.knows_newer_than(step.epoch)

    async def _ask_all(self, step: Ask) -> None:
        """Questions that are still open when a newer view has come are called off."""
        began = time.monotonic()
        answers = Answers(self.route, step, began)
        questions = [asyncio.create_task(self._ask_one(address, step)) for address in step.addresses]
        open_ones = set(questions)
        try:
            while open_ones and (left_s := answers.until - time.monotonic()) > 0:
                done, open_ones = await asyncio.wait(
                    open_ones, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                )
                if any([answers.take(question.result(), time.monotonic()) for question in done]):  # noqa: C419
                    return
        finally:
            for question in questions:
                question.cancel()
            await asyncio.gather(*questions, return_exceptions=True)
        answers.check()
        await asyncio.sleep(max(0.0, began + step.pause_s - time.monotonic()))

    async def _ask_one(self, address: Address, step: Ask) -> View | redis.RedisError:
        try:
            reply = await self.node(address).execute_command(*view_words(step))  # type: ignore[no-untyped-call]
            return View.of(reply)
        except redis.RedisError as error:
            return error

    def node(self, address: Address) -> redis.asyncio.Redis:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            secure, plain = AsyncChainSSLConnection, AsyncChainConnection
            pool = ConnectionPool(
                connection_class=secure if self.is_secure else plain,
                host=host,
                port=port,
                retry=Retry(NoBackoff(), 0),
                **self.options,
            )
            node = self._nodes[address] = redis.asyncio.Redis(connection_pool=pool)
            if self.response_callbacks is not None:
                node.response_callbacks = self.response_callbacks
        return node

    # ---------------------------------------------------------------------------- what is asked for once

    async def table(self) -> CommandTable:
        """Which commands only read. A user who may not ask gets all answers from the head."""
        if self._table is None:
            try:
                self._table = await self.deliver(Role.ANY, self._fetch_table, repeatable=True)
            except redis.exceptions.NoPermissionError:
                self._table = CommandTable()
        return self._table

    async def _fetch_table(self, node: redis.asyncio.Redis) -> CommandTable:
        connection: Any = await node.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_command("COMMAND")
            commands = await connection.read_response(disable_decoding=True)
        finally:
            await node.connection_pool.release(connection)
        once = once_names(commands) if self._once else frozenset()
        return CommandTable(read_names(commands), self._reads or await self._usual_reads(node), once)

    def do_without_once(self) -> None:
        """Send no more MEMBER.ONCE: the user may not, or the chain cannot execute it."""
        self._once = False
        if self._table:
            self._table = replace(self._table, once=frozenset())

    async def _usual_reads(self, node: redis.asyncio.Redis) -> Role:
        info: Any = await node.info("member")
        return Role.ANY if info.get("member_kind") == "all" else Role.TAIL

    async def listening_place(self, avoid: Address | None) -> Address:
        """Where a subscription is made: the members are asked first, since a former one may live on."""
        if avoid:
            self.route.shun(avoid)
        await self._ask(Ask(self.route.everyone(but=avoid), self.route.epoch))
        role = (await self.table()).reads
        return self.route.place(role) or self.route.given[0]


def _sends_nothing(node: redis.asyncio.Redis) -> Awaitable[None]:
    raise AssertionError(f"this plan sends nothing to {node}")
