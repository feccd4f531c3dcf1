# SPDX-License-Identifier: Apache-2.0
"""Fixture: a chain for all applications, emptied before each."""

from collections.abc import Iterator

import pytest

from chainredis.local_cluster.cluster import Cluster
from integration.conftest import _examine

DEBUG = {"enable-debug-command": "yes"}     # for DEBUG DIGEST


@pytest.fixture(scope="session")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    chain = Cluster(3, folder=tmp_path_factory.mktemp("applications"), commands="all", member_config=DEBUG)
    try:
        chain.start()
        yield chain
    finally:
        chain.stop()
    _examine(chain.servers)


@pytest.fixture
def chain(_kept: Cluster) -> Cluster:
    _kept.head.call("FLUSHALL")
    _kept.head.call("FUNCTION", "FLUSH")
    return _kept
