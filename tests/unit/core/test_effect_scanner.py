# SPDX-License-Identifier: Apache-2.0
"""Where commands and transactions end in what Redis sends to a replica, however the bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_extension.core import Scanner

Command = list[bytes]


def encoded(command: Command) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in command)


PING, MULTI, EXEC = encoded([b"PING"]), encoded([b"MULTI"]), encoded([b"EXEC"])
names = st.sampled_from([b"SET", b"PING", b"EXECUTE", b"MULTIPLE", b"MULT", b"", b"e", b"*1\r\n$4\r\nEXEC\r\n"])
words = st.binary(max_size=40) | st.sampled_from([b"MULTI", b"EXEC", b"\r\n", b"x" * 300])
commands = st.tuples(names, st.lists(words, max_size=4)).map(lambda pair: [pair[0], *pair[1]])
multis = st.sampled_from([b"MULTI", b"multi", b"MulTi"])
execs = st.sampled_from([b"EXEC", b"exec", b"eXec"])
transactions = st.tuples(multis, st.lists(commands, max_size=3), execs).map(
    lambda parts: b"".join(map(encoded, [[parts[0]], *parts[1], [parts[2]]])))
streams = st.lists(commands.map(encoded) | transactions, max_size=8)


def ends_of(units: list[bytes]) -> list[int]:
    """Where each unit ends in the bytes of all."""
    ends, at = [], 0
    for unit in units:
        at += len(unit)
        ends.append(at)
    return ends


@given(streams, st.data())
def test_ends_are_found_in_any_pieces(units: list[bytes], data: st.DataObject) -> None:
    stream, ends = b"".join(units), ends_of(units)
    scanner, at = Scanner(), 0
    while at < len(stream):
        piece = stream[at:at + data.draw(st.integers(1, 60) | st.just(len(stream)))]
        expected = [end - at for end in ends if at < end <= at + len(piece)]
        assert scanner.scan(piece) == (expected[-1] if expected else 0)
        at += len(piece)


@given(streams)
def test_ends_are_found_byte_by_byte(units: list[bytes]) -> None:
    stream = b"".join(units)
    scanner = Scanner()
    found = [at + 1 for at in range(len(stream)) if scanner.scan(stream[at:at + 1]) == 1]
    assert found == ends_of(units)


def test_a_transaction_is_one_unit_and_a_command_in_it_is_none() -> None:
    scanner = Scanner()
    assert scanner.scan(PING + MULTI + PING) == len(PING)
    assert scanner.scan(PING) == 0
    assert scanner.scan(EXEC + PING[:3]) == len(EXEC)


def test_an_argument_that_looks_like_the_end_of_a_transaction_is_none() -> None:
    scanner = Scanner()
    assert scanner.scan(MULTI + encoded([b"SET", b"EXEC", EXEC])) == 0
    assert scanner.scan(EXEC) == len(EXEC)


@pytest.mark.parametrize("noise", [
    b"\n", b"\r\n", b"PING\r\n", b"+OK\r\n", b"*\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n+4\r\n", b"*1\r\n$x\r\n", b"$4\r\n", b"*1 \r\n", b"*123456789012345\r\n", b"x" * 25, b"*1\r\n" + b"$" * 25,
])  # fmt: skip
def test_what_is_no_stream_of_commands_is_refused(noise: bytes) -> None:
    assert Scanner().scan(noise) == -1
    for cut in range(1, len(noise)):
        scanner = Scanner()
        assert -1 in (scanner.scan(noise[:cut]), scanner.scan(noise[cut:]))


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_are_too_strange(noise: bytes, step: int) -> None:
    scanner = Scanner()
    for at in range(0, len(noise), step):
        whole = scanner.scan(noise[at:at + step])
        assert -1 <= whole <= step
        if whole < 0:
            break


RECORD = encoded([b"CHAIN.RECORD.EXECUTED", b"1", b"0"])


@given(st.lists(st.sampled_from([PING, RECORD, MULTI + PING + RECORD + EXEC, MULTI + RECORD + PING + EXEC])),
       st.integers(1, 50), st.integers(0, 70))
def test_the_end_of_the_last_whole_record_is_found(units: list[bytes], piece: int, missing: int) -> None:
    """A record counts if no effect stands behind it, and the file was not cut off within it."""
    stream = b"".join(units)
    stream = stream[:max(0, len(stream) - missing)]
    ends = [end for unit, end in zip(units, ends_of(units), strict=True)
            if unit.removesuffix(EXEC).endswith(RECORD) and end <= len(stream)]
    scanner = Scanner()
    for at in range(0, len(stream), piece):
        assert scanner.scan(stream[at:at + piece]) >= 0
    assert scanner.record_end == (ends[-1] if ends else 0)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(1, 50))
def test_the_newest_database_is_known(databases: list[int], piece: int) -> None:
    stream = b"".join(encoded([b"SELECT", str(each).encode()]) + PING for each in databases)
    scanner = Scanner()
    for at in range(0, len(stream), piece):
        scanner.scan(stream[at:at + piece])
    assert scanner.database == databases[-1]


def test_lines_with_the_time_are_of_files_alone() -> None:
    line = b"#TS:1700000000\r\n"
    assert Scanner().scan(line + PING) == -1
    scanner = Scanner(of_file=True)
    assert scanner.scan(line + PING + line + RECORD) == len(line + PING + line + RECORD)
    assert scanner.record_end == len(line + PING + line + RECORD)
