# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests. Random searches say at the head of a run what they begin with, to be repeated from that."""

import os

import pytest
from hypothesis import HealthCheck, settings

from certificates import Certificates
from simulation.seeds import SEED

# A server that breaks one of its invariants ends, and so fails its test (modules/core/invariant.pxd).
os.environ["CHAINREDIS_ON_BROKEN_INVARIANT"] = "abort"

# Where the variable CI is set, hypothesis would take the same examples in every run. It would also time each example,
# which a busy machine makes slow.
settings.register_profile(
    "fresh", settings.get_profile("default"), derandomize=False, print_blob=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("fresh")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before hypothesis reads its option."""
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header(config: pytest.Config) -> str:
    return f"random searches: SIM_SEED={SEED} repeats them; hypothesis begins with {config.option.hypothesis_seed}"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
