# SPDX-License-Identifier: Apache-2.0
"""Mistakes made on purpose in chains of all commands, each in a class of its own, as in mutants.py."""

from __future__ import annotations

from chainredis.protocol.controller import Controller
from chainredis.protocol.reconfiguration import Configuration
from core_extension.core import NO_LIMIT, Ack, Batch, Core, Verdict, View

from .gate import Gate, Held, Horizon
from .node import Node
from .server import Server

# --------------------------------------------------------------------------------------------------- in the core


class CommitsWhatIsLogged(Core):
    """Takes its log for what its server has executed."""

    def batch_applied(self, batch: Batch) -> None:
        super().batch_applied(batch)
        self.executed = self.applied


class ClaimsWhatItsServerLacks(Core):
    """A member begins to wait for its disk, and has vouched before for what its server has not executed yet."""

    def may_claim(self) -> bool:
        return True


class LeadsTooEarly(Core):
    """Shows data, as a new tail, before its server has what the old one had committed."""

    def shows_data(self) -> bool:
        return self.me >= 0 or not self.has_history


class RejoinsWithWhatItsLogLacks(Core):
    """A former head's server has executed more than its tap had read."""

    def relearn(self, given: View) -> Verdict:
        self.executed = min(self.executed, self.applied)
        return super().relearn(given)


class LogsWhatTheFormerHeadDid(Core):
    """In the epoch in which the head was removed."""

    def append_own(self, effects: bytes) -> bool:
        return super().append_own(effects) or (self.me < 0 and self.append_bytes(effects, self.epoch))


class StaysAlone(Core):
    """The only member's server has executed what its log lacks, and waits for ever to lead."""

    def lacks_own(self) -> bool:
        return False


class AsksWithoutWaiting(Core):
    """A new question goes with each acknowledgement, answered or not."""

    def take_ack(self) -> Ack:
        ack = super().take_ack()
        if not self.is_tail():
            return ack
        self.asked = getattr(self, "asked", 0) + 1
        return ack._replace(question=max(ack.question, self.asked))


# -------------------------------------------------------------------------------------------------- in the server


class ClosesTicketsInAPause(Server):
    """Commands that were postponed run later, and some servers call no filter for them then."""

    def must_reopen(self) -> bool:
        return False


class MissesAShortPause(Server):
    """Looks for pauses at the end of a pass only."""

    def note_pause(self) -> None:
        pass


class AnswersWhatCameBeforeItsView(Server):
    """Once it is a new tail, though it has not got all that the old one had."""

    def must_refuse(self) -> bool:
        return self._node.core.has_history and self._node.core.me < 0


class ComparesNoOffset(Server):
    """What no filter sees gets no ticket."""

    def note_unseen(self) -> None:
        pass


class CoversTheLogWhenConnected(Server):
    """A request waits for what the server is about to get, and not for what it gets when its connection is back."""

    def cover_log(self) -> None:
        if self.is_connected:
            super().cover_log()


class ContinuesInTheEpochBefore(Server):
    """Members of former views, who may have others in their place, take its own effects for theirs."""

    def continue_alone(self) -> None:
        core = self._node.core
        core.append_bytes(b"".join(effects for _, effects in self.own), core.epoch_of(core.applied))
        self._log(sum(len(effects) for _, effects in self.own))


class KeepsItsTap(Server):
    """Goes on where the former tap was, and not where the log ends."""

    def close_tap(self) -> None:
        self._node.core.forget_ahead()


# ---------------------------------------------------------------------------------------------------- in the gate


class LoadsTheTicketFirst(Gate):
    """Before it reads the bytes."""

    loaded = 0

    def read(self) -> None:
        super().read()
        self.loaded = self._node.server.tickets.newest

    def newest_ticket(self) -> int:
        return self.loaded


class GivesRequestsAtOnce(Gate):
    """To a server that has not executed what the log had when the request came."""

    def _may_give(self, tag: int) -> bool:
        return super()._may_give(-1)


class KeepsWhatItHoldsForAnotherEra(Gate):
    def begin_era(self) -> None:
        pass


class NeedsNoLease(Gate):
    def publish(self, horizon: Horizon) -> None:
        super().publish(horizon._replace(lease_until=NO_LIMIT))


class ReadsTheClockFirst(Gate):
    """Before it reads the bytes. The process may be stopped between the two."""

    clock_ms = next_ms = 0

    def read(self) -> None:
        self.clock_ms = self.next_ms
        super().read()
        self.next_ms = self._node.clock.ms()

    def now_ms(self) -> int:
        return self.clock_ms


class ReleasesByTheLog(Gate):
    """What is uncommitted is shown."""

    def _may_go(self, held: Held) -> bool:
        return super()._may_go(held._replace(tag=0))


# ---------------------------------------------------------------------------------------------- in the controller


class TellsOneWhileOthersMayAnswer(Controller):
    """Of several that leave: a survivor hears of it from that one."""

    def _others_may_answer(self, stored: Configuration) -> bool:
        return False


def with_server(broken: type[Server]) -> type[Node]:
    return type(f"With{broken.__name__}", (Node,), {"server_class": broken})


def with_gate(broken: type[Gate]) -> type[Node]:
    return type(f"With{broken.__name__}", (Node,), {"gate_class": broken})
