# SPDX-License-Identifier: Apache-2.0
"""The same simulation driven by hypothesis, which finds short scripts for what goes wrong.

Scripts that have failed once are tests of their own, below.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .simulation import Simulation, Step
from .walks import STEPS, setting_of

numbers = st.integers(0, 20)


class ChainMachine(RuleBasedStateMachine):
    """Each step checks every invariant; the end of each run checks that all comes to rest."""

    simulation: Simulation

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        self.simulation = Simulation(setting_of(seed))

    def steps(self, *names: str, a: int, b: int) -> None:
        for name in names:
            self.simulation.run(Step(name, a, b))

    @rule(name=st.sampled_from(STEPS), a=numbers, b=numbers)
    def step(self, name: str, a: int, b: int) -> None:
        self.steps(name, a=a, b=b)

    @rule(name=st.sampled_from(["put", "delete", "read", "deliver", "flow"]), a=numbers, b=numbers, count=numbers)
    def again(self, name: str, a: int, b: int, count: int) -> None:
        for i in range(count % 6):
            self.steps(name, a=a + i, b=b + i)

    @rule(a=numbers, b=numbers, turns=st.integers(1, 20))
    def add(self, a: int, b: int, turns: int) -> None:
        self.steps("add", a=a, b=b)
        for turn in range(turns):
            self.steps("operate", "flow", "decide", "talk", a=turn, b=1)

    @rule(fault=st.sampled_from(["block", "stop", "kill", "stop_master", "kill_master"]), a=numbers, b=numbers)
    def outage(self, fault: str, a: int, b: int) -> None:
        self.steps(fault, "turns", a=a, b=b)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.finish()


TestChainMachine = pytest.mark.timeout(900)(ChainMachine.TestCase)  # to shrink a failure takes minutes
TestChainMachine.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def test_a_sole_member_that_dies_where_refusing_ports_prove_nothing() -> None:
    """MASTER.FORM leaves one member, whose process ends, and another one answers in its place: the chain is lost."""
    simulation = Simulation(setting_of(77))
    for name in [*["deliver"] * 16, "form", "deliver", "kill", "deliver", "deliver"]:
        simulation.run(Step(name))
    simulation.finish()
