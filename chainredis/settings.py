"""What a master is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Settings of a coordinator. Times are in seconds.

    state_dir: folder of the stored view. own_run_id, own_port: of the server that the coordinator lives in, the former
    40 hexadecimal digits. auth_user, auth_password: credentials for the members; an empty password: none.
    """

    state_dir: Path
    own_run_id: str
    own_port: int
    auth_user: str = ""
    auth_password: str = field(default="", repr=False)
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 5.0
    # A joiner discards its data, and a server forks, inside one command.
    long_answer_timeout_s: float = 60.0
    # A copy may take as long as it needs, but not stand still for longer than this.
    stall_timeout_s: float = 60.0
    # How long a command goes on telling a stored view, or waits for the members to serve in it.
    settle_timeout_s: float = 10.0
    retry_interval_s: float = 1.0
    poll_interval_s: float = 0.01
