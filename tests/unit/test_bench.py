# SPDX-License-Identifier: Apache-2.0
"""The benchmark's arithmetic; what it measures is for `make bench` to say, never for a test."""

import argparse
import json
from operator import sub
from pathlib import Path

import pytest

from chainredis.benchmarks.figures import Goal, Outcome, Row, Verdict
from chainredis.benchmarks.load import LoopCheck, exchange, key, requests_per_s
from chainredis.benchmarks.report import Machine, Rate, Report
from chainredis.cli import bench
from chainredis.local_cluster.process import LauncherError

MORE_IS_BETTER = Goal(floor=1.0, aim=1.3)
LESS_IS_BETTER = Goal(floor=1.4, aim=1.0)

HEADER = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms"'


def unmeasured() -> float:
    raise AssertionError


def outcome(*rounds: tuple[float, float], goal: Goal = MORE_IS_BETTER) -> Outcome:
    return Outcome(Row("PUT / SET", "/s", goal, unmeasured, unmeasured), list(rounds))


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (MORE_IS_BETTER, 1.31, Verdict.AIM), (MORE_IS_BETTER, 1.3, Verdict.AIM), (MORE_IS_BETTER, 1.29, Verdict.FLOOR),
        (MORE_IS_BETTER, 1.0, Verdict.FLOOR), (MORE_IS_BETTER, 0.99, Verdict.SHORT),
        (LESS_IS_BETTER, 0.5, Verdict.AIM), (LESS_IS_BETTER, 1.0, Verdict.AIM), (LESS_IS_BETTER, 1.1, Verdict.FLOOR),
        (LESS_IS_BETTER, 1.4, Verdict.FLOOR), (LESS_IS_BETTER, 1.41, Verdict.SHORT),
    ],
)  # fmt: skip
def test_verdicts(goal: Goal, value: float, verdict: Verdict) -> None:
    assert goal.verdict(value) == verdict


def test_the_figure_is_the_median_of_the_rounds_own() -> None:
    measured = outcome((100, 100), (30, 20), (400, 100))    # a machine that was slow in the second round
    assert measured.figures == [1.0, 1.5, 4.0]
    assert measured.figure == 1.5
    assert measured.ours / measured.theirs == 1.0           # which is another thing
    assert measured.verdict == Verdict.AIM


def test_a_difference_is_a_figure_too() -> None:
    row = Row("memory", "MiB", Goal(56, 20), unmeasured, unmeasured, sub)
    assert Outcome(row, [(50.0, 25.0)]).figure == 25.0
    assert Outcome(row, [(50.0, 25.0)]).verdict == Verdict.FLOOR


def test_a_round_measures_our_side_and_right_after_it_the_other() -> None:
    measured: list[str] = []

    def side(name: str, value: float) -> float:
        measured.append(name)
        return value

    result = Outcome(Row("PUT / SET", "/s", MORE_IS_BETTER, lambda: side("ours", 3), lambda: side("theirs", 2)))
    result.measure()
    result.measure()
    assert measured == ["ours", "theirs"] * 2
    assert result.rounds == [(3, 2)] * 2


def test_what_redis_benchmark_prints() -> None:
    title = "MEMBER.PUT key:__rand_int__ x bench"
    assert requests_per_s(f'{HEADER}\n"{title}","153421.30","0.1","0.1","0.1","0.1","0.2"\n') == 153421.30


@pytest.mark.parametrize("output", ["", HEADER, "Could not connect", f'{HEADER}\n"SET"', '"test","time"\n"SET","1"\n'])
def test_what_redis_benchmark_should_not_print(output: str) -> None:
    with pytest.raises(LauncherError, match="redis-benchmark printed"):
        requests_per_s(output)


def test_commands_sent_together_are_one_exchange() -> None:
    both = exchange([[("SET", "k", "v"), ("WAIT", 2, 0)]], rb"\+OK\r\n:2\r\n")
    set_bytes, wait_bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$1\r\n0\r\n"
    assert both.requests == [set_bytes + wait_bytes]
    assert both.check(b"+OK\r\n:2\r\n")
    assert not any(both.check(b"+OK\r\n:2\r\n"[:size]) for size in range(9))


@pytest.mark.parametrize("reply", [b"-MOVED 0 host:1\r\n", b"+OK\r\n:1\r\n", b"+OK\r\n:2\r\n:2\r\n", b"-E"])
def test_any_other_reply_ends_the_benchmark(reply: bytes) -> None:
    with pytest.raises(LauncherError, match="unexpected reply"):
        exchange([[("SET", "k", "v"), ("WAIT", 2, 0)]], rb"\+OK\r\n:2\r\n").check(reply)


def test_keys_are_those_of_redis_benchmark() -> None:
    assert key(99_999) == "key:000000099999"


def test_the_report_is_written_for_people_and_programs(tmp_path: Path) -> None:
    machine = Machine("a CPU", 2, 24.0, "6.1", "7.0.15", "3.11.2", "abc", "2024-01-31", 0.5)
    results = [outcome((125, 100), (150, 100)), outcome((3, 2), goal=LESS_IS_BETTER)]
    report = Report(machine, 2, 1000, True, results, [Rate("SET", 460_000, "less")], LoopCheck(80_000, 70_000, 0.5))
    report.write(tmp_path / "new")
    found = json.loads((tmp_path / "new/latest.json").read_text())
    assert found["machine"]["redis"] == "7.0.15"
    assert [row["verdict"] for row in found["rows"]] == ["aim", "short"]
    assert found["rows"][0]["rounds"] == [[125, 100], [150, 100]]
    lines = (tmp_path / "new/latest.md").read_text().splitlines()
    assert "| PUT / SET | 138/s | 100/s | 1.38 | 1.25–1.50 | 1.00 | 1.30 | aim |" in lines
    assert "| SET | 460,000 | less |" in lines
    assert any(line.startswith("Processors that have nothing to do spin") for line in lines)


@pytest.mark.parametrize("text", ["0", "-1", "few", "1.5", ""])
def test_options_are_positive_numbers(text: str) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    bench.register(lambda *_, **__: parser)
    with pytest.raises(argparse.ArgumentError, match="is not a number from 1"):
        parser.parse_args([f"--rounds={text}"])
