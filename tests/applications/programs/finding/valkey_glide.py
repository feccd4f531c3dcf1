# SPDX-License-Identifier: Apache-2.0
"""Valkey GLIDE, without asyncio: as redis_py.py, by Cluster."""

import itertools
import sys
import time

from glide_sync import GlideClusterClient, GlideClusterClientConfiguration, GlideError, Logger, LogLevel, NodeAddress

_, addresses, _, key = sys.argv[1:]
places = [NodeAddress(host, int(port)) for host, port in (address.split(":") for address in addresses.split(","))]
Logger.init(LogLevel.OFF)  # it writes warnings to standard output
client = None
while client is None:
    try:
        client = GlideClusterClient.create(GlideClusterClientConfiguration(places))
    except GlideError:
        time.sleep(0.02)
for number in itertools.count():
    while True:
        try:
            client.sadd(key, [str(number)])
            break
        except GlideError:
            time.sleep(0.02)
    print(number, flush=True)
    time.sleep(0.005)
