# SPDX-License-Identifier: Apache-2.0
"""A chain's client for applications: redis-py's commands, sent to the member that they belong to (docs/clients.md).

    from chainredis.client import Chain

    chain = Chain(["10.0.0.1:6370", "10.0.0.2:6370", "10.0.0.3:6370"])
    chain.set("a", 1)

`Chain` is for threads, `AsyncChain` for asyncio. A command succeeds, or raises one of these:

    NotWritten      it was not carried out, and will not be
    Unknown         it may have been carried out
    others          what redis-py raises: the server has refused this command for what it is
"""

from chainredis.client.asynchronous import AsyncChain
from chainredis.client.chain import Chain
from chainredis.client.errors import NotWritten, Unknown

__all__ = ["AsyncChain", "Chain", "NotWritten", "Unknown"]
