# SPDX-License-Identifier: Apache-2.0
"""Carries out the plans of `routing` for threads: connections to the members, and questions to all at once."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from chainredis.client.commands import CommandTable, once_names, read_names
from chainredis.client.connections import ChainConnection, ChainSSLConnection, pool_options
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

Action = Callable[[redis.Redis], Any]


class Courier:
    """Brings commands to members. An action sends one to a node, and returns the reply or raises redis.RedisError.

    Arguments: those of `Chain`.
    """

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
        self._nodes: dict[Address, redis.Redis] = {}
        self._lock = Lock()
        self._asking = Lock()
        self._asked = 0
        self._once = exactly_once
        self._places = Places()
        self.response_callbacks = self.any_node().response_callbacks

    def close(self) -> None:
        with contextlib.suppress(redis.RedisError):
            self._leave_places()
        with self._lock:
            nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            node.connection_pool.disconnect()

    def _leave_places(self) -> None:
        commands = self._places.leave()
        head = self.route.place(Role.HEAD)
        if not commands or head is None:
            return
        until = time.monotonic() + FORGET_WITHIN_S
        pool = self.node(head).connection_pool
        connection: Any = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                if not connection.can_read(timeout=max(0.0, until - time.monotonic())):
                    return
                connection.read_response()
        finally:
            connection.disconnect()
            pool.release(connection)

    def deadline(self) -> Deadline:
        return Deadline(self.timeout_s, time.monotonic)

    def deliver(
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
        return self._run(plan, action)

    def deliver_once(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Bring one command to the head, again and again until it answers: it is carried out once.

        Without an answer in time it may have been carried out: Unknown.
        """
        place = self._places.take()

        def send(node: redis.Redis) -> Any:
            connection: Any = node.connection_pool.get_connection()
            try:
                connection.send_command(*place.words(args))
                return node.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
            except redis.ResponseError:
                raise
            except BaseException:
                place.is_clean = False
                raise
            finally:
                node.connection_pool.release(connection)

        try:
            return self.deliver(Role.HEAD, send, repeatable=True, once=True)
        finally:
            self._places.give_back(place)

    def follow(self, address: Address, error: redis.RedisError) -> None:
        """Find out who is the head now that `address` has refused a command."""
        self._run(Follower(self.route, Role.HEAD).follow(address, error), _sends_nothing)

    def any_node(self) -> redis.Redis:
        """For what all nodes have in common, such as the encoder."""
        return self.node(self.route.given[0])

    # ------------------------------------------------------------------------------------ steps of a plan

    def _run(self, plan: Plan, action: Action) -> Any:
        """Carry out a plan; `action` sends the command to a node, and returns the reply."""
        try:
            step = next(plan)
            while True:
                step = plan.send(self._perform(step, action))
        except StopIteration as end:
            return end.value

    def _perform(self, step: Step, action: Action) -> Any:
        if isinstance(step, Ask):
            return self._ask(step)
        assert isinstance(step, Send)
        try:
            return Reply(action(self.node(step.address)))
        except redis.RedisError as error:
            return error

    def _ask(self, step: Ask) -> bool:
        """One thread asks for all that come meanwhile."""
        asked_before = self._asked
        with self._asking:
            if self._asked == asked_before:
                self._ask_all(step)
                self._asked += 1
        return self.route.knows_newer_than(step.epoch)

    def _ask_all(self, step: Ask) -> None:
        """The threads end by themselves: each server answers in time, or its connection times out."""
        began = time.monotonic()
        answers = Answers(self.route, step, began)
        arrived: SimpleQueue[View | Exception] = SimpleQueue()
        for address in step.addresses:
            Thread(target=self._ask_one, args=(address, step, arrived), daemon=True).start()
        for _ in step.addresses:
            try:
                answer = arrived.get(timeout=max(0.0, answers.until - time.monotonic()))
            except Empty:
                break
            if not isinstance(answer, View | redis.RedisError):
                raise answer    # an option or an address that redis-py cannot use: it would be so everywhere
            if answers.take(answer, time.monotonic()):
                return
        answers.check()
        time.sleep(max(0.0, began + step.pause_s - time.monotonic()))

    def _ask_one(self, address: Address, step: Ask, arrived: SimpleQueue[View | Exception]) -> None:
        try:
            reply = self.node(address).execute_command(*view_words(step))  # type: ignore[no-untyped-call]
            arrived.put(View.of(reply))
        except Exception as error:  # noqa: BLE001 - for the thread that asks
            arrived.put(error)

    def node(self, address: Address) -> redis.Redis:
        node = self._nodes.get(address)
        if node is None:
            with self._lock:
                node = self._nodes.get(address) or self._new_node(address)
                self._nodes[address] = node
        return node

    def _new_node(self, address: Address) -> redis.Redis:
        host, port = address
        secure, plain = ChainSSLConnection, ChainConnection
        pool = ConnectionPool(
            connection_class=secure if self.is_secure else plain,
            host=host,
            port=port,
            retry=Retry(NoBackoff(), 0),
            **self.options,
        )
        node = redis.Redis(connection_pool=pool)
        if self.response_callbacks is not None:
            node.response_callbacks = self.response_callbacks
        return node

    # ---------------------------------------------------------------------------- what is asked for once

    def table(self) -> CommandTable:
        """Which commands only read. A user who may not ask gets all answers from the head."""
        if self._table is None:
            try:
                self._table = self.deliver(Role.ANY, self._fetch_table, repeatable=True)
            except redis.exceptions.NoPermissionError:
                self._table = CommandTable()
        return self._table

    def _fetch_table(self, node: redis.Redis) -> CommandTable:
        connection: Any = node.connection_pool.get_connection()
        try:
            connection.send_command("COMMAND")
            commands = connection.read_response(disable_decoding=True)
        finally:
            node.connection_pool.release(connection)
        once = once_names(commands) if self._once else frozenset()
        return CommandTable(read_names(commands), self._reads or self._usual_reads(node), once)

    def do_without_once(self) -> None:
        """Send no more MEMBER.ONCE: the user may not, or the chain cannot execute it."""
        self._once = False
        if self._table:
            self._table = replace(self._table, once=frozenset())

    def _usual_reads(self, node: redis.Redis) -> Role:
        info: Any = node.info("member")
        return Role.ANY if info.get("member_kind") == "all" else Role.TAIL

    def listening_place(self, avoid: Address | None) -> Address:
        """Where a subscription is made: the members are asked first, since a former one may live on."""
        if avoid:
            self.route.shun(avoid)
        self._ask(Ask(self.route.everyone(but=avoid), self.route.epoch))
        role = self.table().reads
        return self.route.place(role) or self.route.given[0]


def _sends_nothing(node: redis.Redis) -> None:
    raise AssertionError(f"this plan sends nothing to {node}")
