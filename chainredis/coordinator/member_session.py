"""Three conversations with every followed process: one polls, on another the member may say what it suspects, and the
third is silent: it holds the lifeline.

A conversation that ends is begun anew at once, which tells whether anybody listens there, and who. Only together with
the end of the lifeline that means that the process has ended (docs/design.md, "Detection").
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace

from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.probe import reach, troubles_of
from chainredis.coordinator.runtime import Keeper
from chainredis.protocol.errors import Busy, Closed, MemberError, OtherProcess, Refused, Rejected, Silent, Stale, Unfed
from chainredis.protocol.evidence import Lifeline, Sighting
from chainredis.protocol.view import Endpoint, Member, View
from chainredis.transport.addresses import Addresses
from chainredis.transport.lifeline import Hold, Line
from chainredis.transport.member_client import Dial, MemberLink, MemberState

log = logging.getLogger(__name__)

# A process that is just ending may still take a connection, and break it off: the first retries follow at once.
FIRST_RETRY_S, RETRY_S = 0.001, 0.05
# A process that has ended does not come back; another one on its port may matter to nobody, or to MASTER.FORM.
ENDED_RETRY_S = 0.5
FAULT_RETRY_S = 1.0


class Watchers:
    """Follows whom the keeper wants to have followed."""

    def __init__(self, keeper: Keeper, dial: Dial, hold: Hold, addresses: Addresses) -> None:
        self._keeper = keeper
        self._dial = dial
        self._hold = hold
        self._addresses = addresses
        self._conversations: dict[str, tuple[Polling, Watching, Holding]] = {}

    def follow(self, members: tuple[Member, ...]) -> None:
        """Called with the keeper's lock held."""
        wanted = {member.run_id: member for member in members}
        for run_id in self._conversations.keys() - wanted.keys():
            for conversation in self._conversations.pop(run_id):
                conversation.end()
        for run_id in wanted.keys() - self._conversations.keys():
            who = (wanted[run_id], self._keeper, self._addresses)
            self._conversations[run_id] = (
                Polling(*who, self._dial), Watching(*who, self._dial), Holding(*who, self._hold),
            )  # fmt: skip
            for conversation in self._conversations[run_id]:
                conversation.start()
        for run_id, member in wanted.items():
            for conversation in self._conversations[run_id]:
                conversation.member = member

    def nudge(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            if conversations := self._conversations.get(run_id):
                conversations[0].nudge()


class Conversation(threading.Thread):
    """With one process, for as long as it is followed. member: as the newest view names it."""

    def __init__(self, member: Member, keeper: Keeper, addresses: Addresses) -> None:
        super().__init__(name=f"chain-{type(self).__name__.lower()}-{member}", daemon=True)
        self.member = self._place = member
        self._run_id = member.run_id
        self._keeper = keeper
        self._addresses = addresses
        self._over = threading.Event()
        self._connection: MemberLink | Line | None = None
        self._stood = False
        self._failures = 0  # to connect, in a row
        self._complaint = Complaint()

    def end(self) -> None:
        self._over.set()
        if connection := self._connection:
            connection.interrupt()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                pause_s = self._converse()
            except Exception:
                log.exception("the conversation with %s failed in a way that nobody has thought of", self.member)
                pause_s = FAULT_RETRY_S
            self._over.wait(pause_s)

    def _converse(self) -> float:
        """From a new connection to its end. How long to wait until the next one."""
        self._stood = False
        self._place = self._next_place()
        try:
            self._talk()
        except MemberError as error:
            return self._conclude(error)
        finally:
            if self._connection:
                self._connection.close()
            self._connection = None
        return 0

    def _next_place(self) -> Member:
        """Where it was; and after a failure, by turns, where its name leads to by now, if that is elsewhere."""
        is_turn = self._failures > 0 and self._place.address == self.member.address
        return replace(self.member, address=self._addresses.of(self.member)) if is_turn else self.member

    @property
    def _is_elsewhere(self) -> bool:
        """What answers there, or does not, proves nothing of who was, and may still be, where the view says."""
        return self._place.address != self.member.address

    def _conclude(self, error: MemberError) -> float:
        """What the failure may mean is told before it is logged."""
        if self._over.is_set():
            return 0
        pause_s = min(FIRST_RETRY_S * (1 << self._failures), RETRY_S)
        self._failures = 0 if self._stood else min(self._failures + 1, 10)
        match error:
            case Closed() if self._stood:
                self._keeper.dropped(self._run_id)
                pause_s = 0
            case OtherProcess() if self._is_elsewhere:
                self._keeper.located(self._run_id, self._place.address, is_another=True)
                pause_s = ENDED_RETRY_S
            case Refused() if not self._is_elsewhere:
                self._keeper.refused(self._run_id)
                pause_s = ENDED_RETRY_S
            case OtherProcess():
                self._keeper.replaced(self._run_id)
                pause_s = ENDED_RETRY_S
            case Rejected():
                pause_s = RETRY_S  # it lives, and will not think better of it within a millisecond
        if pause_s and (line := self._complaint.line(str(error))):
            log.info("%s", line)
        return pause_s

    def _talk(self) -> None:
        raise NotImplementedError


class Polling(Conversation):
    """Tells views, grants leases, and learns how the member is."""

    def __init__(self, member: Member, keeper: Keeper, addresses: Addresses, dial: Dial) -> None:
        super().__init__(member, keeper, addresses)
        self._dial = dial
        self._nudged = threading.Event()

    def end(self) -> None:
        super().end()
        self.nudge()

    def nudge(self) -> None:
        """Do not wait for the next poll to be due."""
        self._nudged.set()

    def _pause(self, seconds: float) -> None:
        self._nudged.wait(seconds)
        self._nudged.clear()

    def _talk(self) -> None:
        link, state = reach(self._dial, self._place)
        self._connection = link
        self._stood = True
        self._keeper.answered(self._run_id, sighting(state))
        is_proven = False
        while not self._over.is_set():
            view, lease = self._keeper.due(self._run_id)
            if not is_proven and self._prove(link):
                is_proven = True
                self._keeper.located(self._run_id, self._place.address)
            if view:
                self._tell(link, view)
                continue
            try:
                self._saw(link.poll(lease) if lease and is_proven else link.state())
            except Busy:
                self._keeper.spoke(self._run_id)
            self._pause(self._keeper.pause_s(self._run_id))

    def _prove(self, link: MemberLink) -> bool:
        """False: it knows of no secret so far, and believes whoever gives it a view."""
        view = self._keeper.known_view
        if view is None:
            return False
        try:
            link.prove(view.secret, self._run_id)
        except Rejected:
            return False
        return True

    def _tell(self, link: MemberLink, view: View) -> None:
        try:
            link.adopt(view)
        except Unfed as error:
            if line := self._complaint.line(str(error)):
                log.warning("%s", line)
            self._keeper.unfed(self._run_id, view.epoch)
            self._pause(RETRY_S)
        except Stale as error:
            self._keeper.superseded(error.view)
            self._pause(RETRY_S)
        else:
            self._keeper.adopted(self._run_id, view.epoch)

    def _saw(self, state: MemberState) -> None:
        self._complaint.over()  # whatever it was: a view that it has refused would have come before
        self._keeper.answered(self._run_id, sighting(state))


class Watching(Conversation):
    """Waits until the member suspects somebody, or ends."""

    def __init__(self, member: Member, keeper: Keeper, addresses: Addresses, dial: Dial) -> None:
        super().__init__(member, keeper, addresses)
        self._dial = dial

    def _talk(self) -> None:
        view = self._keeper.known_view
        if view is None or not self._keeper.wait_for(lambda steward: steward.knows_view(self._run_id), RETRY_S):
            return
        link = self._connection = self._dial(Endpoint(self._place.address, self._place.port))
        link.prove(view.secret, self._run_id)
        self._stood = True
        while not self._over.is_set():
            self._keeper.reported(self._run_id, troubles_of(link.watch()))


class Holding(Conversation):
    """Holds the lifeline until its process ends."""

    def __init__(self, member: Member, keeper: Keeper, addresses: Addresses, hold: Hold) -> None:
        super().__init__(member, keeper, addresses)
        self._hold = hold

    def _talk(self) -> None:
        view = self._keeper.view
        if view is None or not self._keeper.wait_for(lambda steward: steward.knows_view(self._run_id), RETRY_S):
            return
        port = self._keeper.lifeline_port(self._run_id)
        if not port:
            raise Silent(f"{self.member}: offers no lifeline")
        line = self._connection = self._hold(Endpoint(self._place.address, port), view.secret, self._run_id)
        self._stood = True
        self._complaint.over()
        self._keeper.lifeline(self._run_id, Lifeline.HELD)
        line.await_end()

    def _conclude(self, error: MemberError) -> float:
        """A line that cannot be held says nothing of the process: a firewall may stand before that port."""
        if self._over.is_set():
            return 0
        if self._stood:
            self._keeper.lifeline(self._run_id, Lifeline.ENDED if isinstance(error, Closed) else Lifeline.NONE)
            return ENDED_RETRY_S
        if self._keeper.is_well(self._run_id) and (line := self._complaint.line(str(error))):
            log.warning("%s: if %s dies, that is noticed only when its lease has run out", line, self.member)
        return ENDED_RETRY_S


def sighting(state: MemberState) -> Sighting:
    durable = state.record_durable and state.record_epoch == state.epoch
    troubles = troubles_of(state.unreached)
    return Sighting(
        state.epoch, state.serving, state.stamp, troubles, durable, state.checkpointed, state.lifeline,
        state.applied, state.committed, state.timeout, state.unreached_why,
    )  # fmt: skip
