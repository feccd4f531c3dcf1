# SPDX-License-Identifier: Apache-2.0
"""django-redis, a cache of Django's: as redis_py.py, by Sentinel."""

import itertools
import sys
import time

from django.conf import settings

_, addresses, name, key = sys.argv[1:]
SENTINELS = [(host, int(port)) for host, port in (address.split(":") for address in addresses.split(","))]
settings.configure(
    DJANGO_REDIS_CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{name}/0",
            "KEY_FUNCTION": lambda key, _prefix, _version: key,  # so that the test finds what was written
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.SentinelClient", "SENTINELS": SENTINELS},
        }
    },
)

from django.core.cache import cache  # noqa: E402 - the settings come first
from django_redis.exceptions import ConnectionInterrupted  # noqa: E402
from redis.exceptions import RedisError  # noqa: E402

for number in itertools.count():
    while True:
        try:
            cache.sadd(key, number)
            break
        except (ConnectionInterrupted, RedisError):
            time.sleep(0.02)
    print(number, flush=True)
    time.sleep(0.005)
