"""The same simulation driven by hypothesis, which finds short scripts for what goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .simulation import STEP_WEIGHTS, Simulation, Step

numbers = st.integers(0, 20)


class ChainMachine(RuleBasedStateMachine):
    """Each step checks every invariant; the end of each run checks that all comes to rest."""

    simulation: Simulation

    def begin_with(self, size: int) -> Simulation:
        return Simulation(size)

    @initialize(size=st.integers(2, 5))
    def begin(self, size: int) -> None:
        self.simulation = self.begin_with(size)

    def steps(self, *names: str, a: int, b: int) -> None:
        for name in names:
            self.simulation.run(Step(name, a, b))

    @rule(name=st.sampled_from(list(STEP_WEIGHTS)), a=numbers, b=numbers)
    def step(self, name: str, a: int, b: int) -> None:
        self.steps(name, a=a, b=b)

    @rule(name=st.sampled_from(["put", "delete", "deliver", "sleep"]), a=numbers, b=numbers, count=st.integers(2, 6))
    def again(self, name: str, a: int, b: int, count: int) -> None:
        for i in range(count):
            self.steps(name, a=a + i, b=b + i)

    @rule(a=numbers, pauses=st.integers(1, 12))
    def change_view(self, a: int, pauses: int) -> None:
        self.steps("add" if a % 3 else "remove", a=a, b=a)
        for _ in range(pauses):
            self.steps("master", a=0, b=0)

    @rule(turns=st.integers(1, 12))
    def work(self, turns: int) -> None:
        """Links are made, messages flow, the master gets on: what random steps seldom do in a row."""
        for turn in range(turns):
            self.steps("connect", "sleep", "deliver", "sleep", "deliver", "master", a=turn, b=3)

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.settle()


TestChainMachine = pytest.mark.timeout(900)(ChainMachine.TestCase)  # to shrink a failure takes minutes
TestChainMachine.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
