# SPDX-License-Identifier: Apache-2.0
"""The settings of a master: when it starts, and as they change while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chainredis.protocol.settings import ProtocolSettings
from chainredis.transport.tls import Tls

# Members are polled so many times during a lease: on a busy machine, too, one of the answers comes in time.
POLLS_A_LEASE = 8


@dataclass(frozen=True)
class PollSettings:
    """How members are polled: the module configurations `master.*` (docs/configuration.md)."""

    interval_ms: int = 3000
    timeout_ms: int = 15000
    lease_ms: int = 2000
    trust_refused: bool = True
    clock_drift_percent: int = 1
    auto_return: bool = True  # members that a fault took out are added again by themselves

    @property
    def protocol(self) -> ProtocolSettings:
        lease_ms = min(self.lease_ms, self.timeout_ms)
        return ProtocolSettings(self.timeout_ms, lease_ms, self.clock_drift_percent / 100, self.trust_refused)

    @property
    def longest_lease_s(self) -> float:
        """After so many seconds no earlier lease lasts any more, also if another master granted it."""
        return self.timeout_ms / 1000 * (1 + self.clock_drift_percent / 100)


@dataclass(frozen=True)
class Credentials:
    """User and password of the master at members. With an empty password the master does not log in.

    source: where people set them.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    source: str = "master.auth-user and master.auth-password"


@dataclass(frozen=True)
class Settings:
    """Settings of a coordinator. Times are in seconds.

    state_dir: the folder of the stored configuration. own_run_id (40 hexadecimal digits), own_port: of the server in
    which the coordinator runs. name: the chain's, for clients that ask for it by SENTINEL. credentials, polling, tls:
    give the present values, which may change; tls: None to talk without TLS.
    """

    state_dir: Path
    own_run_id: str
    own_port: int
    name: str = "mymaster"
    credentials: Callable[[], Credentials] = Credentials
    polling: Callable[[], PollSettings] = PollSettings
    tls: Callable[[], Tls | None] = lambda: None
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 5.0
    # Some commands discard all data, or fork.
    long_answer_timeout_s: float = 60.0
    # A copy may take any time, but may not stand still for longer than this.
    stall_timeout_s: float = 60.0
    # How long a command waits for the members to serve, after all earlier leases have run out.
    settle_timeout_s: float = 10.0
    # The pause before another attempt to read or write the store, or to find the members of a dead chain.
    retry_interval_s: float = 0.5
    poll_interval_s: float = 0.01
