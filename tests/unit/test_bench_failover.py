# SPDX-License-Identifier: Apache-2.0
"""The fail-over benchmark's arithmetic; what it measures is for `make bench-failover` to say, never for a test."""

import argparse
import json
from pathlib import Path
from threading import Event

import pytest
import redis

from chainredis.benchmarks.clients import Client, Load, Recording
from chainredis.benchmarks.failover_report import FailoverReport
from chainredis.benchmarks.gaps import NS_PER_MS, Service, Spread, Trace, Window, spread
from chainredis.benchmarks.joins import LOADS, Copy, Join, Joins
from chainredis.benchmarks.kills import POSITIONS, Failover, Kill
from chainredis.benchmarks.report import Machine
from chainredis.benchmarks.route import Request, Route, pack
from chainredis.benchmarks.two_trees import compare, compared
from chainredis.cli import bench_failover
from chainredis.local_cluster.process import LauncherError


def ms(*moments: float) -> list[int]:
    return [round(moment * NS_PER_MS) for moment in moments]


def window(begin: float, end: float) -> Window:
    return Window(*ms(begin, end))


def service(*clients: list[float]) -> Service:
    """By client, when each of its requests succeeded; it made the next one at once."""
    return Service([Trace(ms(0, *ends[:-1]), ms(*ends)) for ends in clients])


# ------------------------------------------------------------------------------------------------- gaps


def test_a_gap_is_between_successes_of_any_two_clients() -> None:
    both = service([1, 4, 9], [2, 6, 11])
    assert both.longest_gap_ms(window(0, 10)) == 3      # from 6 to 9
    assert both.longest_latency_ms(window(0, 10)) == 5  # from 4 to 9, of the first client, or 6 to 11 of the second


@pytest.mark.parametrize(
    ("begin", "end", "gap"),
    [(0, 10, 1), (10, 20, 10), (15, 30, 10), (0, 15, 10), (12, 13, 10), (30, 40, 20), (21, 29, 9)],
)  # fmt: skip
def test_a_gap_counts_whole_in_every_window_that_it_touches(begin: float, end: float, gap: float) -> None:
    moments = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 29, 30, 50, 51]
    assert service(moments).longest_gap_ms(window(begin + 0.5, end - 0.5)) == gap


def test_a_gap_that_never_ends_has_no_length() -> None:
    with pytest.raises(ValueError, match="no success after"):
        service([1, 2, 3]).longest_gap_ms(window(2, 4))


def test_a_window_has_the_requests_that_were_under_way_in_it() -> None:
    trace = Trace(ms(0, 1, 4, 9), ms(1, 4, 9, 11))
    assert list(trace.within(window(2, 5))) == [tuple(ms(1, 4)), tuple(ms(4, 9))]
    assert list(trace.within(window(12, 20))) == []


def test_a_rate_is_that_of_all_clients() -> None:
    assert service([1, 4, 9], [2, 6, 11]).per_s(window(0, 10)) == 500


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], Spread(3, 3, 3)), ([2.0, 1.0], Spread(1.5, 2, 2)), ([*range(20, 0, -1)], Spread(10.5, 18, 20)),
        ([*range(10)], Spread(4.5, 8, 9)),
    ],
)  # fmt: skip
def test_the_spread_of_many_times(values: list[float], expected: Spread) -> None:
    assert spread(values) == expected


# ---------------------------------------------------------------------------------------------- clients


class BadRoad(Route):
    """The first attempts on it fail; with the first that does not, it stops the client."""

    def __init__(self, failures: list[Exception], stop: Event) -> None:
        self.steps: list[str] = []
        self._failures = failures
        self._stop = stop

    def ask(self, _: Request) -> None:
        self.steps.append("ask")
        if self._failures:
            raise self._failures.pop()
        self._stop.set()

    def look(self) -> None:
        self.steps.append("look")


@pytest.mark.parametrize(
    "failure", [redis.ConnectionError(), redis.TimeoutError(), redis.ResponseError("UNKNOWN"), OSError()]
)
def test_a_client_that_fails_looks_for_the_way_and_goes_on_as_the_same_request(failure: Exception) -> None:
    stop = Event()
    road = BadRoad([failure, failure], stop)
    client = Client(road, [pack([("READ", "k")])] * 3)
    client(stop)
    assert road.steps == ["ask", "look", "ask", "look", "ask"]
    assert len(client.trace.begins) == len(client.trace.ends) == 1


def test_a_client_that_cannot_succeed_can_be_stopped() -> None:
    stop = Event()
    stop.set()
    client = Client(BadRoad([OSError()], stop), [pack([("READ", "k")])])
    client(stop)
    assert list(client.trace.ends) == []


def test_commands_are_packed_as_one_request() -> None:
    request = pack([("READ", "k"), ("READ", "key")])
    assert b"".join(request.packed) == b"*2\r\n$4\r\nREAD\r\n$1\r\nk\r\n*2\r\n$4\r\nREAD\r\n$3\r\nkey\r\n"
    assert request.replies == 2


# ----------------------------------------------------------------------------------------------- report

MACHINE = Machine("a CPU", 2, 24.0, "6.1", "7.0.15", "3.11.2", "abc", "2024-01-31", 0.5)
COPY = Copy(seconds=2.0, mib=100.0, fork_ms=1.5)


def failover() -> Failover:
    """Each position is killed once, at 100, 300 and 500 ms; each time nobody gets anything for 4, 12 and 40 ms."""
    silent = {100: 4, 300: 12, 500: 40}
    ends = [0.0]
    while ends[-1] < 700:
        ends.append(ends[-1] + silent.get(round(ends[-1]), 1))
    kills = [
        Kill(position, window(at - 50, at - 10), window(at, at + 80), window(at + 90, at + 100), at / 100)
        for position, at in zip(POSITIONS, silent, strict=True)
    ]
    return Failover(kills, Recording(service(ends), service(ends)))


def report() -> FailoverReport:
    loaded = {
        name: [Join(COPY, 2.0, 9.0, 1000.0), Join(COPY, 2.0, gap, 2000.0)]
        for name, gap in zip(LOADS, (11, 99), strict=True)
    }
    return FailoverReport(MACHINE, Load(), failover(), Joins(1000, [Copy(4.0, 100.0, 1.0)], [COPY], loaded))


def test_the_report_says_for_how_long_nobody_was_served(tmp_path: Path) -> None:
    report().write(tmp_path / "new")
    lines = (tmp_path / "new/failover.md").read_text().splitlines()
    assert "| head | writers | 4.0 | 4.0 | 4.0 | 4.0 | 1.0 | 1.0 | aim |" in lines
    assert "| middle | readers | 12.0 | 12.0 | 12.0 | 12.0 | 1.0 | 1.0 | floor |" in lines
    assert "| tail | writers | 40.0 | 40.0 | 40.0 | 40.0 | 1.0 | 1.0 | short |" in lines
    assert "the median, 5.0 at worst." in lines
    assert (tmp_path / "new/failover.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_says_how_a_join_went(tmp_path: Path) -> None:
    report().write(tmp_path)
    text = (tmp_path / "failover.md").read_text()
    assert "| blocking writers | 1,500 | 2.0 (2.0) | 10.0 (11.0) | 8.0 (9.0) | aim | 2.00 | 50.0 | 1.5 (1.5) |" in text
    assert "| 54.0 (99.0) | 52.0 (97.0) | short | 2.00 |" in text
    assert "at 2.00 times the speed" in text


def test_the_report_is_for_programs_too(tmp_path: Path) -> None:
    report().write(tmp_path)
    found = json.loads((tmp_path / "failover.json").read_text())
    assert found["machine"]["redis"] == "7.0.15"
    assert found["kills"]["tail"]["readers"] == [{"gap": 40.0, "latency": 40.0, "normal_gap": 1.0}]
    assert found["flush_ms"] == [1.0, 3.0, 5.0]
    assert found["joins"]["native"] == [{"seconds": 4.0, "mib": 100.0, "fork_ms": 1.0}]


@pytest.mark.parametrize("option", ["kills", "joins", "keys"])
def test_options_are_positive_numbers(option: str) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    bench_failover.register(lambda *_, **__: parser)
    assert getattr(parser.parse_args([f"--{option}=7"]), option) == 7
    with pytest.raises(argparse.ArgumentError, match="is not a number from 1"):
        parser.parse_args([f"--{option}=0"])


# -------------------------------------------------------------------------------------- against another clone


def test_two_clones_are_compared_by_medians_and_worsts() -> None:
    there, here = {"gap": [10.0, 20.0, 40.0]}, {"gap": [10.0, 5.0, 60.0]}
    assert list(compared(there, here)) == [["gap", "20.0", "40.0", "10.0", "60.0", "0.50", "1.50"]]


def test_another_clone_must_be_one_that_was_built(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="is no clone of this project that was built"):
        compare(tmp_path, "", [], 2, lambda text: None)
