# SPDX-License-Identifier: Apache-2.0
"""The address that this server advertises: where others reach it."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from chainredis.etcd.url import host_port
from chainredis.protocol.view import Endpoint


def machine() -> str:
    """Names the network of 127.0.0.1: a boot of a machine, and one of its network namespaces."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id}/{Path('/proc/self/ns/net').stat().st_ino}"


def is_local(host: str) -> bool:
    """Returns True if this host leads every machine to itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class AdvertisedAddress:
    """When it is called: `host:port`, where others reach this server.

    endpoints: of etcd. host: empty for the address that this machine uses to reach etcd.
    """

    def __init__(self, endpoints: Sequence[Endpoint], host: str, port: int) -> None:
        self._endpoints = endpoints
        self._host = host
        self._port = port

    def __call__(self) -> str:
        self._host = self._host or self._found()
        return host_port(Endpoint(self._host or "127.0.0.1", self._port))

    def _found(self) -> str:
        """The address that this machine uses to reach etcd. No packet is sent."""
        for endpoint in self._endpoints:
            with suppress(OSError):
                family, kind, *_, address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)[0]
                with closing(socket.socket(family, kind)) as probe:
                    probe.connect(address)
                    return str(probe.getsockname()[0])
        return ""
