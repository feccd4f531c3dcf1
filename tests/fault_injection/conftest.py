# SPDX-License-Identifier: Apache-2.0
"""Fixtures: chains as in tests/integration, and networks between the servers of a chain."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chainredis.local_cluster.cluster import Cluster
from etcd.conftest import three
from fault_injection.namespaces import Router, UnavailableError
from fault_injection.proxy import Network
from integration.conftest import _examine, chain, server

__all__ = ["chain", "examined", "network", "router", "server", "three"]


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def router() -> Iterator[Router]:
    """A router between network namespaces. Skips the test if namespaces are not permitted."""
    router = Router()
    try:
        router.open()
    except UnavailableError as error:
        pytest.skip(f"no network namespaces here: {error}")
    yield router
    router.close()


@contextmanager
def examined(cluster: Cluster) -> Iterator[None]:
    """Start the cluster; at the end stop it and examine its logs."""
    try:
        with cluster:
            yield
    finally:
        _examine(cluster.servers)
