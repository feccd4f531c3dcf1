"""What random searches of a run begin with is shown at its head, so that every run can be repeated."""

import pytest
from hypothesis import settings

from sim.seeds import SEED

# Where the variable CI is set, hypothesis would take the same examples in every run.
settings.register_profile("fresh", settings.get_profile("default"), derandomize=False, print_blob=True)
settings.load_profile("fresh")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before hypothesis reads its option."""
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header(config: pytest.Config) -> str:
    return f"random searches: SIM_SEED={SEED} repeats them; hypothesis begins with {config.option.hypothesis_seed}"
