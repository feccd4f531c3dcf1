"""What a master is told when it starts, and may be told anew while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chainredis.protocol.settings import ProtocolSettings

# However busy a machine is, one of so many answers comes in time.
POLLS_A_LEASE = 8


@dataclass(frozen=True)
class PollSettings:
    """How members are watched: the module configurations `master.*` (docs/configuration.md, "Masters")."""

    interval_ms: int = 3000
    timeout_ms: int = 15000
    lease_ms: int = 2000
    trust_refused: bool = True
    clock_drift_percent: int = 1
    auto_return: bool = True  # members that a fault took out come back by themselves

    @property
    def protocol(self) -> ProtocolSettings:
        lease_ms = min(self.lease_ms, self.timeout_ms)
        return ProtocolSettings(self.timeout_ms, lease_ms, self.clock_drift_percent / 100, self.trust_refused)

    @property
    def longest_lease_s(self) -> float:
        """After so long nobody has a lease that was granted before, be it by another master that has led since."""
        return self.timeout_ms / 1000 * (1 + self.clock_drift_percent / 100)


@dataclass(frozen=True)
class Credentials:
    """With what the master logs in at members: an empty password does not."""

    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Settings:
    """Settings of a coordinator. Times are in seconds.

    state_dir: folder of the stored view. own_run_id, own_port: of the server that the coordinator lives in, the former
    40 hexadecimal digits. credentials, polling: give those of the moment.
    """

    state_dir: Path
    own_run_id: str
    own_port: int
    credentials: Callable[[], Credentials] = Credentials
    polling: Callable[[], PollSettings] = PollSettings
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 5.0
    # A joiner discards its data, and a server forks, inside one command.
    long_answer_timeout_s: float = 60.0
    # A copy may take as long as it needs, but not stand still for longer than this.
    stall_timeout_s: float = 60.0
    # How long a command waits for the members to serve, beyond the leases that may have to run out before.
    settle_timeout_s: float = 10.0
    # Between attempts at what failed: to read or write the store, to find the members of a chain that died.
    retry_interval_s: float = 0.5
    poll_interval_s: float = 0.01
