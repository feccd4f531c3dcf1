"""Chains are started as in the tests of servers."""

from servers.conftest import chain, server

__all__ = ["chain", "server"]
