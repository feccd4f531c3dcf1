# SPDX-License-Identifier: Apache-2.0
"""URLs `host:port[,host:port…]/chain` of an etcd and a chain in it; and the keys that a chain has there."""

import re
from dataclasses import dataclass

from chainredis.protocol.view import Endpoint, parse_endpoint

FORM = "host:port[,host:port…]/chain_name"
# A slash in a name could make the keys of one chain those of another.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True)
class Keys:
    """The keys of one chain. Other chains in the same etcd have other keys."""

    chain: str

    @property
    def prefix(self) -> str:
        return f"{self.chain}/"

    @property
    def view(self) -> str:
        return f"{self.chain}/view"

    @property
    def leader(self) -> str:
        return f"{self.chain}/leader"

    @property
    def masters(self) -> str:
        return f"{self.chain}/masters/"

    @property
    def heartbeats(self) -> str:
        return f"{self.chain}/heartbeats/"

    def heartbeat(self, run_id: str) -> str:
        return f"{self.heartbeats}{run_id}"


@dataclass(frozen=True)
class EtcdUrl:
    endpoints: tuple[Endpoint, ...]
    keys: Keys

    def __str__(self) -> str:
        return f"{','.join(map(host_port, self.endpoints))}/{self.keys.chain}"


def host_port(endpoint: Endpoint) -> str:
    """`host:port`, with brackets around an IPv6 address, which has colons of its own."""
    return f"[{endpoint.host}]:{endpoint.port}" if ":" in endpoint.host else str(endpoint)


def parse_url(text: str) -> EtcdUrl:
    """ValueError, with a text for people, if this is not such a URL."""
    if "@" in text:  # perhaps a password, which must not be in the error's text
        raise ValueError(f"no user and password in the URL: the settings etcd-user and etcd-password; {FORM} is wanted")
    servers, slash, chain = text.partition("/")
    if not slash or not chain:
        raise ValueError(f"{text!r} names no chain: {FORM} is wanted, such as 127.0.0.1:12379/my_cool_chain")
    if not _NAME.fullmatch(chain):
        raise ValueError(f"the chain's name {chain!r} is not 1 to 128 letters, digits, dots, dashes and underscores")
    return EtcdUrl(tuple(_endpoint(server, text) for server in servers.split(",")), Keys(chain))


def _endpoint(server: str, url: str) -> Endpoint:
    host, colon, port = server.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{server!r} in {url!r} is not host:port; {FORM} is wanted")
    return parse_endpoint(host.removeprefix("[").removesuffix("]").encode(), port.encode())
