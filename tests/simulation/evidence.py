# SPDX-License-Identifier: Apache-2.0
"""The operations that simulated clients saw, for the checker that also checks the clients of real servers.

It knows nothing of sequence numbers and views: a second opinion on the model's.
"""

from __future__ import annotations

from fault_injection.history import Kind, Operation, Outcome
from fault_injection.linearizability import violations

from .clients import Read, Write
from .model import Model, require


def judge(model: Model) -> None:
    """Not judged if updates were lost with the last disk: registers have gone back in time then."""
    if not model.lost_at:
        found = violations([of_write(write) for write in model.writes] + [of_read(read) for read in model.reads])
        require(not found, f"what clients saw is not linearizable: {'; '.join(map(str, found))}")


def of_write(write: Write) -> Operation:
    key, value, _ = write.update
    kind = Kind.DEL if value is None else Kind.PUT
    outcome, end = Outcome.OPEN, write.end
    if write.kind == "failed":
        outcome = Outcome.FAILED
    elif write.kind == "committed":
        outcome = Outcome.DONE
    elif write.confirmed:
        outcome, end = Outcome.DONE, write.confirmed
    return Operation(kind, key.decode(), value.decode() if value else None, write.start, end, outcome)


def of_read(read: Read) -> Operation:
    value = read.found.state.get(read.key) if read.found else None
    return Operation(Kind.READ, read.key.decode(), value.decode() if value else None, read.start, read.end)
