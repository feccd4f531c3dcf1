"""The same simulation driven by hypothesis, which finds short scripts for what goes wrong."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .simulation import STEP_WEIGHTS, Simulation, Step

numbers = st.integers(0, 63)
# Listed as often as it takes that most steps move something.
names = st.sampled_from([name for name, weight in STEP_WEIGHTS.items() for _ in range(max(1, round(weight / 4)))])


class ChainMachine(RuleBasedStateMachine):
    """Each step checks every invariant; the end of each run checks that all comes to rest."""

    simulation: Simulation

    @initialize(size=st.integers(2, 5))
    def begin(self, size: int) -> None:
        self.simulation = Simulation(size)

    @rule(name=names, a=numbers, b=numbers)
    def step(self, name: str, a: int, b: int) -> None:
        self.simulation.run(Step(name, a, b))

    @rule()
    def let_it_work(self) -> None:
        """What random steps seldom do in a row: all members get everything."""
        for turn in range(24):
            for name in ("connect", "sleep", "deliver", "master"):
                self.simulation.run(Step(name, turn, turn))

    def teardown(self) -> None:
        if hasattr(self, "simulation"):
            self.simulation.settle()


TestChainMachine = ChainMachine.TestCase
TestChainMachine.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
