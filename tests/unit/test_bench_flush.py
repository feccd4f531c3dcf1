# SPDX-License-Identifier: Apache-2.0
"""The benchmark of checkpoints and flushing: its arithmetic; what it measures is for `make bench-flush` to say."""

import argparse
import json
from operator import sub
from pathlib import Path

import pytest

from chainredis.benchmarks.figures import Goal, Outcome, Row
from chainredis.benchmarks.fills import PIPELINE, Fill, Fills, Memory
from chainredis.benchmarks.flush_report import FlushReport
from chainredis.benchmarks.report import Machine
from chainredis.cli import bench_flush

MACHINE = Machine("a CPU", 2, 24.0, "6.1", "7.0.15", "3.11.2", "abc", "2024-01-31", 0.5)


def unmeasured() -> float:
    raise AssertionError


def fill(mode: str, per_s: float, *used_mib: float, pipeline: int = PIPELINE) -> Fill:
    samples = [Memory(number / 4, used, used + 20) for number, used in enumerate(used_mib)]
    return Fill(mode, pipeline, per_s, {"head": samples, "tail": samples}, {"head": 3.14, "tail": 2})


def fills() -> Fills:
    done = [fill("normal", 1000 * number, 10, 100 * number) for number in (3, 1, 2)]
    others = [fill("checkpoint", 700, 10, 200), fill("checkpoint-flush", 500, 10, 115, 90)]
    return Fills(5000, [*done, fill("normal", 1, 10, 20, pipeline=1), *others])


def report() -> FlushReport:
    outcomes = [
        Outcome(Row("writes", "/s", Goal(0.7, 0.85), unmeasured, unmeasured), [(80.0, 100.0), (9000.0, 10000.0)]),
        Outcome(Row("READ", "µs", Goal(200, 100), unmeasured, unmeasured, sub), [(160.0, 50.0)]),
    ]
    return FlushReport(MACHINE, 2, 700, fills(), outcomes)


def test_the_fill_in_the_middle_is_shown() -> None:
    assert fills().typical("normal").per_s == 2000


def test_the_report_says_what_flushing_costs(tmp_path: Path) -> None:
    report().write(tmp_path / "new")
    text = (tmp_path / "new/flush.md").read_text()
    assert "| writes | 4,540/s | 5,050/s | 0.85 | 0.80–0.90 | 0.70 | 0.85 | aim |" in text
    assert "| READ | 160 µs | 50 µs | 110.0 | 110.0–110.0 | 200.0 | 100.0 | floor |" in text
    assert "5,000 unique keys" in text
    assert (tmp_path / "new/flush.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_says_what_memory_there_was(tmp_path: Path) -> None:
    report().write(tmp_path)
    text = (tmp_path / "flush.md").read_text()
    assert "| tail | normal | 200 | 200 | 220 | 2.0 |" in text
    assert "| head | checkpoint-flush | 115 | 90 | 110 | 3.1 |" in text


def test_the_report_is_for_programs_too(tmp_path: Path) -> None:
    report().write(tmp_path)
    found = json.loads((tmp_path / "flush.json").read_text())
    assert found["machine"]["redis"] == "7.0.15"
    assert found["rows"][1]["rounds"] == [[160.0, 50.0]]
    assert found["memory"]["checkpoint-flush"]["memory"]["tail"][1] == [0.25, 115, 135]


@pytest.mark.parametrize("option", ["rounds", "writes", "keys"])
def test_options_are_positive_numbers(option: str) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    bench_flush.register(lambda *_, **__: parser)
    assert getattr(parser.parse_args([f"--{option}=7"]), option) == 7
    with pytest.raises(argparse.ArgumentError, match="is not a number from 1"):
        parser.parse_args([f"--{option}=0"])
