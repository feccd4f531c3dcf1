# SPDX-License-Identifier: Apache-2.0
"""A leaderboard: scores that many players raise at once, ranks, and boards of weeks that become one of the month."""

import sys
from random import Random
from threading import Thread

import redis

client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
WEEKS = range(4)


def play(player: int) -> None:
    dice = Random(player)
    for _ in range(50):
        client.zincrby(f"week {dice.choice(WEEKS)}", dice.randint(1, 9), f"player {player}")


def main() -> None:
    threads = [Thread(target=play, args=(player,)) for player in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.zunionstore("month", [f"week {week}" for week in WEEKS])
    expected = {}
    for player in range(8):
        dice = Random(player)
        expected[f"player {player}"] = sum((dice.choice(WEEKS), dice.randint(1, 9))[1] for _ in range(50))
    assert dict(client.zrange("month", 0, -1, withscores=True)) == expected
    best = max(expected, key=lambda name: (expected[name], name))
    assert client.zrevrank("month", best) == 0
    client.zremrangebyrank("month", 0, -4)
    assert client.zcard("month") == 3


main()
