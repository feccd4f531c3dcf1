# SPDX-License-Identifier: Apache-2.0
"""The operations of clients and their answers, which the checker judges."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic_ns


class Kind(StrEnum):
    PUT = "put"
    DEL = "del"
    READ = "read"


class Outcome(StrEnum):
    """OPEN: the outcome is unknown. The update may take effect at any time after its start, or never."""

    DONE = "done"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one key. value: the value that was put or read (None: nil); a DEL has none.

    start, end: times of one clock. A DONE operation took effect between them. The end of other operations has no
    meaning.
    """

    kind: Kind
    key: str
    value: str | None
    start: int
    end: int
    outcome: Outcome = Outcome.DONE
    client: str = ""
    note: str = ""


@dataclass
class History:
    """Operations that many threads add. events: notes of faults and the like, for a person who reads the history."""

    operations: list[Operation] = field(default_factory=list)
    events: list[tuple[int, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.events.append((monotonic_ns(), text))

    def save(self, path: Path) -> None:
        """Write one line for each operation and event, in the order of their starts."""
        lines = [(at, {"at": at, "event": text}) for at, text in self.events]
        lines += [(operation.start, asdict(operation)) for operation in self.operations]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{json.dumps(line)}\n" for _, line in sorted(lines, key=lambda line: line[0])))


def load(path: Path) -> History:
    """Read a history that `History.save` has written."""
    history = History()
    for line in map(json.loads, path.read_text().splitlines()):
        if "event" in line:
            history.events.append((line["at"], line["event"]))
        else:
            kind, outcome = Kind(line.pop("kind")), Outcome(line.pop("outcome"))
            history.operations.append(Operation(kind, outcome=outcome, **line))
    return history


def by_key(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.key, []).append(operation)
    return found
