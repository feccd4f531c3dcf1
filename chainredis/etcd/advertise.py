"""Where others reach this server, as far as it can tell."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from chainredis.etcd.url import host_port
from chainredis.protocol.view import Endpoint


def machine() -> str:
    """Which network 127.0.0.1 is in: of this boot of this machine, or of one of its network namespaces."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id}/{Path('/proc/self/ns/net').stat().st_ino}"


def is_local(host: str) -> bool:
    """It leads everybody to himself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class AdvertisedAddress:
    """Called: `host:port`, where others reach this server."""

    def __init__(self, endpoints: Sequence[Endpoint], host: str, port: int) -> None:
        self._endpoints = endpoints
        self._host = host
        self._port = port

    def __call__(self) -> str:
        self._host = self._host or self._found()
        return host_port(Endpoint(self._host or "127.0.0.1", self._port))

    def _found(self) -> str:
        """The address that this machine takes to reach etcd; no packet is sent."""
        for endpoint in self._endpoints:
            with suppress(OSError):
                family, kind, *_, address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)[0]
                with closing(socket.socket(family, kind)) as probe:
                    probe.connect(address)
                    return str(probe.getsockname()[0])
        return ""
