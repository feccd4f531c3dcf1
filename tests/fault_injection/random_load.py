# SPDX-License-Identifier: Apache-2.0
"""Random commands whose effects depend on chance, on time, and on other clients. Copies must be the same all the same.

Most keys live for 5 to 50 ms, in several databases, so that the head expires them all the time.
"""

from collections.abc import Callable, Sequence
from random import Random
from threading import Event

from chainredis.protocol.view import Endpoint
from commands.wire import Typed, Wire, Word

DATABASES = range(3)
KEYS = 8            # of each type
LIFETIMES_MS = (5, 50)
LONG_SHARE = 0.2    # of lifetimes that end after the test
BATCH = range(1, 9)

CLOCK = "redis.call('SET', KEYS[1], redis.call('TIME')[2]) return redis.call('PEXPIRE', KEYS[1], math.random(5, 50))"
SPOP_INTO = "local m = redis.call('SPOP', KEYS[1]) if m then return redis.call('RPUSH', KEYS[2], m) end return 0"
HALF = "redis.call('INCR', KEYS[1]) redis.call('LPUSH', KEYS[2], 'x') error('stops here')"

Commands = list[list[Word]]


class RandomLoad:
    """A client that sends batches until it is told to stop.

    where: gives the endpoint to write to, for each connection; None if there is none. databases: the only ones that it
    touches; FLUSHALL is only sent if one of them is 0. field_lifetimes: the servers know HPEXPIRE. sent: how many
    commands were sent.
    """

    def __init__(
        self,
        where: Callable[[], Endpoint | None],
        seed: str,
        *,
        databases: Sequence[int] = DATABASES,
        field_lifetimes: bool = False,
    ) -> None:
        self._where = where
        self._databases = databases
        self._flush = ["FLUSHALL", "FLUSHDB"] if 0 in databases else ["FLUSHDB"]
        self._dice = Random(seed)
        self._kinds = [
            self._strings, self._sets, self._scripts, self._streams, self._blocking, self._hashes, self._stores,
            self._any_key, self._hyperloglog, self._transaction,
        ] + [self._fields] * field_lifetimes  # fmt: skip
        self.sent = 0

    def __call__(self, stop: Event) -> None:
        while not stop.is_set():
            endpoint = self._where()
            try:
                if endpoint:
                    self._converse(endpoint, stop)
            except OSError:
                pass
            stop.wait(0.01)

    def _converse(self, endpoint: Endpoint, stop: Event) -> None:
        wire = Wire(endpoint, timeout_s=3)
        try:
            wire("SELECT", self._database())
            while not stop.is_set():
                batch = [command for _ in range(self._dice.choice(BATCH)) for command in self._next()]
                wire.send_all(batch)
                self.sent += len(batch)
                if any(_sends_away(wire.receive()) for _ in batch):
                    return
        finally:
            wire.close()

    def _next(self) -> Commands:
        if self._dice.random() < 0.002:
            return [[self._dice.choice(self._flush)]]
        if self._dice.random() < 0.1:
            return [["SELECT", self._database()]]
        return self._dice.choice(self._kinds)()

    def _database(self) -> int:
        return self._dice.choice(self._databases)

    def _key(self, kind: str) -> str:
        return f"{kind}{self._dice.randrange(KEYS)}"

    def _lives(self, key: str) -> list[Word]:
        return ["PEXPIRE", key, 100_000 if self._dice.random() < LONG_SHARE else self._dice.randint(*LIFETIMES_MS)]

    def _one(self, *commands: list[Word]) -> list[Word]:
        return self._dice.choice(commands)

    # ----------------------------------------------------------------------------------------- kinds of commands

    def _strings(self) -> Commands:
        key = self._key("s")
        return [
            self._one(
                ["INCR", key], ["APPEND", key, "0"], ["INCRBYFLOAT", key, "0.1"],
                ["SET", key, "7", "PX", self._dice.randint(*LIFETIMES_MS)],
                ["GETEX", key, "PX", self._dice.randint(*LIFETIMES_MS)], ["GETDEL", key], ["SETRANGE", key, 2, "1"],
                ["BITFIELD", key, "INCRBY", "u8", 3, 7],
                ["SETBIT", key, self._dice.randrange(64), 1], ["SET", key, "1", "KEEPTTL"],
            ),
            self._lives(key),
        ]  # fmt: skip

    def _sets(self) -> Commands:
        key, other = self._key("t"), self._key("t")
        return [
            ["SADD", key, *(self._dice.randrange(20) for _ in range(4))],
            self._one(
                ["SPOP", key], ["SPOP", key, 2], ["SMOVE", key, other, 3], ["SINTERSTORE", other, key, other],
                ["SDIFFSTORE", key, key, other],
            ),
            self._lives(key),
        ]

    def _scripts(self) -> Commands:
        return [self._one(
            ["EVAL", CLOCK, 1, self._key("s")], ["EVAL", SPOP_INTO, 2, self._key("t"), self._key("l")],
            ["EVAL", HALF, 2, self._key("s"), self._key("s")],
        )]  # fmt: skip

    def _streams(self) -> Commands:
        key, name = self._key("x"), self._dice.choice("ab")
        return [
            ["XADD", key, "MAXLEN", "~", 50, "*", "f", "v"],
            self._one(
                ["XGROUP", "CREATE", key, "g", "0"],
                ["XREADGROUP", "GROUP", "g", name, "COUNT", 3, "STREAMS", key, ">"],
                ["XAUTOCLAIM", key, "g", name, 0, 0, "COUNT", 2],
                ["XREADGROUP", "GROUP", "g", name, "NOACK", "STREAMS", key, ">"],
                ["XTRIM", key, "MAXLEN", 5], ["XGROUP", "DELCONSUMER", key, "g", name], ["XDEL", key, "0-1"],
                ["XGROUP", "SETID", key, "g", "$"],
            ),
            *([self._lives(key)] if self._dice.random() < 0.3 else []),
        ]  # fmt: skip

    def _blocking(self) -> Commands:
        key, other = self._key("l"), self._key("l")
        return [
            self._one(["RPUSH", key, "a", "b"], ["LPUSH", other, "c"], ["LMOVE", key, other, "LEFT", "RIGHT"]),
            self._one(
                ["BLPOP", key, other, "0.01"], ["BLMOVE", key, other, "RIGHT", "LEFT", "0.01"],
                ["BRPOP", other, "0.01"], ["BZPOPMIN", self._key("z"), "0.01"], ["LTRIM", key, 0, 5],
            ),
            self._lives(other),
        ]  # fmt: skip

    def _hashes(self) -> Commands:
        key, field = self._key("h"), self._dice.choice("abc")
        changes = self._one(
            ["HINCRBYFLOAT", key, field, "0.3"], ["HSET", key, field, "1.5"], ["HDEL", key, field],
            ["HINCRBY", key, "n", 3],
        )
        return [changes, self._lives(key)]

    def _fields(self) -> Commands:
        key, field = self._key("h"), self._dice.choice("abc")
        return [["HSET", key, field, "1"], ["HPEXPIRE", key, self._dice.randint(*LIFETIMES_MS), "FIELDS", 1, field]]

    def _stores(self) -> Commands:
        key, other, score = self._key("z"), self._key("z"), self._dice.randint(1, 9)
        return [
            ["ZADD", key, score, self._dice.choice("abcdef")],
            self._one(
                ["ZUNIONSTORE", other, 2, key, self._key("t"), "WEIGHTS", 2, 3],
                ["SORT", self._key("t"), "STORE", self._key("l")],
                ["ZINTERSTORE", other, 2, key, other], ["ZRANGESTORE", other, key, 0, 2], ["ZPOPMIN", key],
                ["ZINCRBY", key, "0.1", "a"],
                ["GEOADD", self._key("z"), 13, 38, "p"],
            ),
            self._lives(other),
        ]  # fmt: skip

    def _any_key(self) -> Commands:
        key, other = self._key(self._dice.choice("stlhzx")), self._key(self._dice.choice("stlhzx"))
        return [self._one(
            ["COPY", key, other], ["COPY", key, key, "DB", self._database()], ["RENAME", key, other],
            ["RENAMENX", key, other],
            ["MOVE", key, self._database()], ["DEL", key], ["UNLINK", other],
            ["PERSIST", key], self._lives(key),
            ["SWAPDB", self._database(), self._database()], ["GET", key], ["TYPE", key],
        )]  # fmt: skip

    def _hyperloglog(self) -> Commands:
        key = self._key("p")
        reads = self._one(["PFCOUNT", key], ["PFMERGE", self._key("p"), key])
        return [["PFADD", key, self._dice.randrange(1000)], reads, self._lives(key)]

    def _transaction(self) -> Commands:
        """With commands inside that fail, and sometimes one that Redis does not queue."""
        fails: list[Word] = ["LPUSH", self._key("s"), "x"]
        elsewhere: list[Word] = ["SELECT", self._database()]
        inside = [*self._strings(), fails, *self._sets(), elsewhere, *self._stores()]
        bad: Commands = [["SET"]] if self._dice.random() < 0.1 else []
        return [["MULTI"], *inside, *bad, self._one(["EXEC"], ["EXEC"], ["DISCARD"])]


def _sends_away(reply: object) -> bool:
    """Whether this is no member that takes writes."""
    refusals = (b"MOVED", b"READONLY", b"CLUSTERDOWN", b"TRYAGAIN", b"LOADING", b"MASTERDOWN")
    return isinstance(reply, Typed) and reply.type == "-" and reply.value.startswith(refusals)
