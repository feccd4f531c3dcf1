"""`host:port[,host:port…]/chain`: an etcd, and the chain in it; and the keys that a chain has there."""

import re
from dataclasses import dataclass

from chainredis.protocol.view import Endpoint, parse_endpoint

FORM = "host:port[,host:port…]/chain_name"
# No slash, or the keys of one chain could be another's.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True)
class Keys:
    """Of one chain. Other chains in the same etcd have other ones."""

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
    """As it is written in an address: a number of IPv6 has colons of its own."""
    return f"[{endpoint.host}]:{endpoint.port}" if ":" in endpoint.host else str(endpoint)


def parse_url(text: str) -> EtcdUrl:
    """ValueError, with a text for whoever typed it, when it is none."""
    if "@" in text:  # somebody's password: it goes into no text
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
