# SPDX-License-Identifier: Apache-2.0
"""A picture of what clients notice when a member is killed and added again."""

from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING

from chainredis.benchmarks.gaps import NS_PER_MS, NS_PER_S, Service, Window
from chainredis.benchmarks.kills import CLIENTS, POSITIONS, Failover, Kill

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE_S, AFTER_S = 0.1, 0.1
COLORS = dict(zip(CLIENTS, ("tab:red", "tab:blue"), strict=True))
# The clients that the death of a member interrupts, by its position.
INTERRUPTED = dict(zip(POSITIONS, ("writers", "writers", "readers"), strict=True))


def draw(failover: Failover, path: Path) -> None:
    """Draw how long each request took, over time; for each position, of the kill with the median gap."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as slow to load as all of the command line

    figure = Figure(figsize=(10, 9), layout="constrained")
    axes = figure.subplots(len(POSITIONS), sharex=True, sharey=True)
    for position, place in zip(POSITIONS, axes, strict=True):
        kill, gap = _typical(failover, position)
        place.set_title(f"the {position} is killed: no success of {INTERRUPTED[position]} for {gap:.1f} ms", loc="left")
        _draw_kill(place, failover, kill)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(CLIENTS), markerscale=8)
    axes[-1].set_xlabel("seconds after the kill")
    figure.savefig(path, dpi=100)


def _typical(failover: Failover, position: str) -> tuple[Kill, float]:
    kills = [kill for kill in failover.kills if kill.position == position]
    gaps = [gaps.gap for gaps in failover.gaps(position, INTERRUPTED[position])]
    gap = median_low(gaps)
    return kills[gaps.index(gap)], gap


def _draw_kill(axes: "Axes", failover: Failover, kill: Kill) -> None:
    killed = kill.after.begin
    shown = Window(killed - int(BEFORE_S * NS_PER_S), kill.adding.end + int(AFTER_S * NS_PER_S))
    for clients, color in COLORS.items():
        service: Service = getattr(failover.recording, clients)
        requests = [request for trace in service.traces for request in trace.within(shown)]
        seconds = [(end - killed) / NS_PER_S for _, end in requests]
        latencies = [(end - begin) / NS_PER_MS for begin, end in requests]
        axes.plot(seconds, latencies, ".", markersize=1, color=color, label=clients)
    axes.set_yscale("log")
    axes.set_ylabel("latency, ms")
    axes.grid(axis="y", alpha=0.3)
    events = {"killed": killed, "MASTER.ADD": kill.adding.begin, "whole again": kill.adding.end}
    for number, (event, moment) in enumerate(events.items()):
        second = (moment - killed) / NS_PER_S
        axes.axvline(second, color="black", linewidth=0.8)
        line = max(number, 1)  # the last two are close together
        axes.annotate(event, (second, 1), (3, -10 * line), ("data", "axes fraction"), "offset points", fontsize=8)
