# SPDX-License-Identifier: Apache-2.0
"""How long the protocol waits, and what it trusts. Pure: a master reads these from its configuration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProtocolSettings:
    """The times of failure detection and leases (design.md, "Detection" and "Leases").

    timeout_ms: a member that is silent for so long is gone. lease_ms: the length of a lease, not longer than the
    timeout; a member that somebody waits for may be silent for no longer. drift: by how much one clock may run faster
    than another, as a fraction. trust_refused: the network's word that a process has ended is believed.
    """

    timeout_ms: int
    lease_ms: int
    drift: float = 0.01
    trust_refused: bool = True
