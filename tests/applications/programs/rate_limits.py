# SPDX-License-Identifier: Apache-2.0
"""limits: three strategies of rate limiting, of which two are scripts in Lua."""

import sys

from limits import parse
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter


def main() -> None:
    storage = storage_from_string(sys.argv[1])
    assert storage.check()
    item = parse("10/hour")
    for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
        limiter = strategy(storage)
        name = strategy.__name__
        assert [limiter.hit(item, name) for _ in range(12)] == [True] * 10 + [False] * 2, name
        assert limiter.get_window_stats(item, name).remaining == 0
        assert limiter.test(item, "another")
        limiter.clear(item, name)
        assert limiter.hit(item, name)


main()
