# SPDX-License-Identifier: Apache-2.0
"""Keys and values of any bytes and any length up to the limit arrive unchanged at every member."""

import hashlib
import random

import pytest

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Talk, ask, assert_serves, info, settled

MIB = 1 << 20
STRANGE = [
    b"", b" ", b"a b", b"\0", b"a\0b", b"\n", b"a\nb", b"\r\n", b"$5\r\nhello\r\n", b"*1\r\n$4\r\nPING\r\n", b"'\"\\",
    b"-ERR", b":1", b"%s%n%d", b"0", b"-1", b"12345678901234567890", b"1e5", b"\xff\xfe\x80", bytes(range(256)),
    "ключ→值".encode(), b"x" * 300, b"y" * 70_000,
]  # fmt: skip


def used_memory(member: Server) -> int:
    return int(info(member, "memory")["used_memory"])


def assert_equal_everywhere(cluster: Cluster, data: dict[bytes, bytes]) -> None:
    settled(cluster)
    for member in cluster.members:
        with Talk(member) as talk:
            found = talk.pipeline([("GET", key) for key in data])
            assert dict(zip(data, found, strict=True)) == data
            assert talk("DBSIZE") == len(data)
    with Talk(cluster.tail) as talk:
        assert talk.pipeline([("READ", key) for key in data]) == list(data.values())


def test_strange_keys_and_values(chain: StartChain) -> None:
    cluster = chain(3)
    data = {key: value for key in STRANGE for value in (random.Random(key).choice(STRANGE),)}
    for number, (key, value) in enumerate(data.items()):
        assert ask(cluster.head, "MEMBER.PUT", key, value) == number
    assert_equal_everywhere(cluster, data)
    cluster.grow()
    assert_equal_everywhere(cluster, data)


def test_more_keys_than_the_caches_are_trusted_with(chain: StartChain) -> None:
    """From 4096 keys on a member notes where values lie (modules/core/hints.pxd). Here they move, go and come back.

    The table of two MiB is given back when writes have ceased, and made again with the next ones.
    """
    cluster = chain(3)
    dice, data = random.Random(1), dict[bytes, bytes]()
    keys = [b"key:%012d" % number for number in range(10_000)]
    with Talk(cluster.head) as talk:
        for _ in range(2):
            for _ in range(4):
                data |= {key: dice.randbytes(dice.choice([1, 40, 64, 64, 64, 2000])) for key in keys}
                talk.pipeline([("MEMBER.PUT", key, value, "me") for key, value in data.items()])
                gone = set(dice.sample(list(data), 3000))
                talk.pipeline([("MEMBER.DEL", key, "me") for key in gone])
                data = {key: data[key] for key in data.keys() - gone}
            settled(cluster)
            with_table = used_memory(cluster.tail)
            assert_equal_everywhere(cluster, data)
            wait_until(lambda: used_memory(cluster.tail) < with_table - 3 * MIB / 2, 60)  # noqa: B023 - it ends here
    with Talk(cluster.tail) as talk:
        assert talk("READ") == "ERR wrong number of arguments for 'read' command"
        assert talk("READ", keys[0], keys[1]) == "ERR wrong number of arguments for 'read' command"
        assert talk("READ", "none") is None


def test_strange_client_ids(chain: StartChain) -> None:
    """Updates with and without client ids alternate, because one message marks equal client ids in a row."""
    cluster = chain(3)
    with Talk(cluster.tail) as listener, Talk(cluster.head) as writer:
        listener.pipeline([("SUBSCRIBE", name) for name in STRANGE])
        for name in STRANGE:
            writer.send_all([("MEMBER.PUT", "k", "v", name), ("MEMBER.DEL", "k", name)])
        assert [writer.receive() for _ in range(2 * len(STRANGE))] == list(range(2 * len(STRANGE)))
        heard = [listener.receive() for _ in range(2 * len(STRANGE))]
    assert heard == [[b"message", STRANGE[sn // 2], b"%d" % sn] for sn in range(2 * len(STRANGE))]


@pytest.mark.parametrize("value", [b"a value", b"a\0value", b"a\nvalue", b"", b"a\r\nvalue"])
@pytest.mark.parametrize("size", [1, 2])
def test_strange_values_before_a_tail_is_added(chain: StartChain, size: int, value: bytes) -> None:
    """These values would break a copy in a text format."""
    cluster = chain(size)
    assert ask(cluster.head, "MEMBER.PUT", value, value) == 0
    assert ask(cluster.head, "MEMBER.PUT", "after it", "b") == 1
    cluster.grow()
    assert_equal_everywhere(cluster, {value: value, b"after it": b"b"})
    assert_serves(cluster)


def test_overwriting_with_every_length(chain: StartChain) -> None:
    """Values of equal length are overwritten in place; others are shared with the log. No other copy may change."""
    cluster = chain(3)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    data: dict[bytes, bytes] = {}
    with Talk(cluster.head) as talk:
        for _ in range(20):
            commands: list[tuple[bytes, ...]] = []
            for _ in range(200):
                key = b"key%d" % dice.randrange(10)
                if dice.random() < 0.1:
                    commands.append((b"MEMBER.DEL", key, b"me"))
                    data.pop(key, None)
                    continue
                length = dice.choice([0, 1, 2, 10, 10, 43, 44, 45, 64, 64, 64, 1024, 1025, 40_000])
                data[key] = dice.randbytes(length)
                commands.append((b"MEMBER.PUT", key, data[key], b"me"))
            assert all(isinstance(reply, int) for reply in talk.pipeline(commands))
    assert_equal_everywhere(cluster, data)


def test_numbers_stay_as_they_were_written(chain: StartChain) -> None:
    """Redis stores some strings as integers and shares small ones between keys."""
    cluster = chain(2)
    numbers = [b"0", b"1", b"9999", b"10000", b"-5", b"007", b"+1", b"1.0"]
    data = {b"key of " + number: number for number in numbers}
    for key in data:
        ask(cluster.head, "MEMBER.PUT", key, "1")
    for key, value in data.items():
        ask(cluster.head, "MEMBER.PUT", key, value)
    assert_equal_everywhere(cluster, data)


def test_64_mb_values(chain: StartChain) -> None:
    cluster = chain(3)
    values = [random.Random(number).randbytes(64 * MIB) for number in range(2)]
    with Talk(cluster.head, 60) as talk:
        assert talk("MEMBER.PUT", "big", values[0]) == 0
        assert talk("MEMBER.PUT", "other", values[0]) == 1
        assert talk("MEMBER.PUT", "big", values[1]) == 2
        assert talk("MEMBER.PUT", "big enough to be no key of a small one " * 1000, "small") == 3
        assert talk("MEMBER.DEL", "other") == 4
    cluster.grow()
    for member in cluster.members:
        assert _digest(ask(member, "GET", "big")) == _digest(values[1])
        assert ask(member, "EXISTS", "other") == 0
    assert _digest(ask(cluster.tail, "READ", "big")) == _digest(values[1])
    assert_serves(cluster)


def _digest(value: bytes) -> str:
    """A hash for comparisons: the difference of two values of 64 MB would be unreadable."""
    return hashlib.sha256(value).hexdigest()


@pytest.mark.parametrize("words", [
    ("MEMBER.PUT", "key", "x" * MIB), ("MEMBER.PUT", "key", "x" * MIB, "me"), ("MEMBER.PUT", "x" * (MIB + 1), ""),
    ("MEMBER.DEL", "x" * (MIB + 1)), ("MEMBER.PUT", "key", "value", "x" * MIB),
], ids=["value", "value-async", "key", "key-deleted", "client"])  # fmt: skip
def test_larger_than_the_log_is_refused_before_it_has_an_sn(chain: StartChain, words: tuple[str, ...]) -> None:
    cluster = chain(2, member_config={"member.log-limit": "1mb"})
    assert ask(cluster.head, *words).startswith("ERR too large")
    assert ask(cluster.head, "MEMBER.SN") == -1
    assert ask(cluster.head, "EXISTS", "key") == 0
    assert ask(cluster.head, "MEMBER.PUT", "key", "x" * (MIB - 3)) == 0
    assert_serves(cluster)


def test_deleting(chain: StartChain) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.DEL", "never there") == 0
    assert ask(cluster.head, "MEMBER.PUT", "key", "value") == 1
    assert ask(cluster.head, "MEMBER.DEL", "key") == 2
    assert ask(cluster.head, "MEMBER.DEL", "key", "me") == 3
    assert_equal_everywhere(cluster, {})
    assert ask(cluster.head, "MEMBER.PUT", "key", "again") == 4
    assert_equal_everywhere(cluster, {b"key": b"again"})


def test_out_of_memory_is_refused_before_an_sn(server: StartServer) -> None:
    alone = server(MEMBER, maxmemory="1")
    assert ask(alone, "MEMBER.PUT", "key", "value").startswith("OOM ")
    assert ask(alone, "MEMBER.SN") == -1
    assert ask(alone, "MEMBER.DEL", "key") == 0


def test_a_successor_never_refuses_what_its_predecessor_applied(chain: StartChain) -> None:
    """A successor applies updates even above its memory limit (design.md, "Forwarding")."""
    cluster = chain(2)
    assert ask(cluster.tail, "CONFIG", "SET", "maxmemory", "1") == b"OK"
    for number in range(10):
        assert ask(cluster.head, "MEMBER.PUT", number, "value") == number
    assert ask(cluster.tail, "READ", "9") == b"value"
    assert settled(cluster) == 9
