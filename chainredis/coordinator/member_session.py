# SPDX-License-Identifier: Apache-2.0
"""Three sessions with every followed process: one polls it, one waits for its reports, one holds its lifeline.

A session that ends is begun anew at once: that tells whether anybody listens there, and who. Only together with the end
of the lifeline does this mean that the process has ended (docs/design.md, "Detection").
"""

import logging
import threading
from dataclasses import replace

from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.probe import parse_broken_links, reach, state_of
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.errors import (
    Busy,
    CannotFeed,
    Closed,
    MemberError,
    OtherProcess,
    Refused,
    Rejected,
    Silent,
    Stale,
)
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import Lifeline, MemberReport
from chainredis.protocol.view import Endpoint, Member, View
from chainredis.transport.addresses import Addresses
from chainredis.transport.lifeline import Hold, Line
from chainredis.transport.member_client import Dial, MemberLink
from chainredis.transport.member_state import MemberState

log = logging.getLogger(__name__)

# A process that is just ending may still accept a connection, and break it. So the first retries follow at once.
FIRST_RETRY_S, RETRY_S = 0.001, 0.05
# A lifeline and a neighbour's report tell of the end of a process. So whatever else there is to ask is in no hurry, and
# leaves the interpreter to them.
CALM_RETRY_S = 0.005
# For so long the answer of a store is awaited, too. A store that is away keeps no session from its member.
MOST_CALM_S = 0.05
# A process that has ended does not come back. Another process on its port is added by others (cold_start, MASTER.ADD).
ENDED_RETRY_S = 0.5
FAULT_RETRY_S = 1.0


class MemberSession(threading.Thread):
    """A thread that talks with one process, for as long as it is followed. member: as the newest view names it."""

    def __init__(self, member: Member, runtime: Runtime, addresses: Addresses) -> None:
        super().__init__(name=f"chain-{type(self).__name__.lower()}-{member}", daemon=True)
        self.member = self._place = member
        self._run_id = member.run_id
        self._runtime = runtime
        self._addresses = addresses
        self._over = threading.Event()
        self._connection: MemberLink | Line | None = None
        self._stood = False  # the connection was made
        self._failures = 0  # to connect, in a row
        self._complaint = Complaint()

    def end(self) -> None:
        """May be called from any thread. Does not wait for the thread's end."""
        self._over.set()
        if connection := self._connection:
            connection.interrupt()

    def _use(self, connection: MemberLink | Line) -> None:
        """The connection of now. `end` may have been called while it was made."""
        self._connection = connection
        if self._over.is_set():
            connection.interrupt()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                pause_s = self._run_once()
            except Exception:
                log.exception("the conversation with %s failed in a way that nobody has thought of", self.member)
                pause_s = FAULT_RETRY_S
            self._over.wait(pause_s)

    def _run_once(self) -> float:
        """From a new connection to its end. Returns for how many seconds to wait before the next one."""
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
        """The member at its address in the view; after a failure, by turns, at its host name's address of now."""
        is_turn = self._failures > 0 and self._place.address == self.member.address
        return replace(self.member, address=self._addresses.of(self.member)) if is_turn else self.member

    @property
    def _is_elsewhere(self) -> bool:
        """What happens at another address than the view's proves nothing of the process at the view's address."""
        return self._place.address != self.member.address

    def _conclude(self, error: MemberError) -> float:
        """Tell the runtime what the failure may mean, then log it. Returns the seconds before the next attempt."""
        if self._over.is_set():
            return 0
        pause_s = min(FIRST_RETRY_S * (1 << self._failures), RETRY_S)
        self._failures = 0 if self._stood else min(self._failures + 1, 10)
        match error:
            case Closed() if self._stood:
                if self._runtime.dropped(self._run_id):
                    self._keep_calm()
                return 0
            case OtherProcess() if self._is_elsewhere:
                self._runtime.located(self._run_id, self._place.address, is_another=True)
                pause_s = ENDED_RETRY_S
            case Refused() if not self._is_elsewhere:
                self._runtime.refused(self._run_id)
                pause_s = ENDED_RETRY_S
            case OtherProcess():
                self._runtime.replaced(self._run_id)
                pause_s = ENDED_RETRY_S
            case Rejected():
                pause_s = RETRY_S  # the member lives, and will refuse again
        if pause_s and (line := self._complaint.line(str(error))):
            log.info("%s", line)
        return pause_s

    def _keep_calm(self) -> None:
        """Until others have decided and stored what follows from the end of a process, or might have."""
        until = self._runtime.now() + MOST_CALM_S
        self._over.wait(CALM_RETRY_S)
        while self._runtime.is_storing and self._runtime.now() < until and not self._over.is_set():
            self._over.wait(CALM_RETRY_S)

    def _knows_view(self) -> bool:
        """Returns True if the member has adopted the newest view: so it has the secret, which both sides prove."""
        return self._runtime.wait_for(lambda controller: controller.knows_view(self._run_id), RETRY_S)

    def _talk(self) -> None:
        """Until the connection ends, which is a MemberError."""
        raise NotImplementedError


class PollSession(MemberSession):
    """Tells views, grants leases, and reads the member's state. standing: a link to the member that was made before."""

    def __init__(
        self, member: Member, runtime: Runtime, addresses: Addresses, dial: Dial, standing: MemberLink | None = None
    ) -> None:
        super().__init__(member, runtime, addresses)
        self._dial = dial
        self._standing = standing
        self._asked_at = 0.0
        self._woken = threading.Event()
        self._proven: MemberLink | None = None  # the link, when both sides have proved the secret

    def end(self) -> None:
        super().end()
        self.wake()

    def run(self) -> None:
        super().run()
        if self._standing:  # it was ended before it began
            self._standing.close()

    def wake(self) -> None:
        """Poll now."""
        self._woken.set()

    def announce(self, view: View) -> None:
        """Send the view now, if the link is idle. This thread, which is slower to wake, takes the answer."""
        if link := self._proven:
            link.announce(view)

    def pause(self, seconds: float) -> None:
        """Returns when the member is to be polled now, at the latest after so many seconds."""
        self._woken.wait(seconds)
        self._woken.clear()

    def ask(self) -> None:
        """Ask on the link that stands, if there is one, without waiting. To be called before the thread begins."""
        if link := self._standing:
            self._asked_at = self._runtime.now()
            link.ask()

    def hear(self, timeout_s: float) -> bool:
        """Take the answer to `ask`, if it comes in time as a whole: others are waited for after it. What happens else
        to a link that nobody has used for a while proves nothing: the thread makes a new one. Returns whether there was
        an answer.
        """
        if (link := self._standing) is None:
            return False
        try:
            state = state_of(link, self.member, timeout_s)
        except MemberError as error:
            log.debug("%s", error)
            self._standing = None
            link.close()
            return False
        self._runtime.answered(self._run_id, report(state), self._asked_at)
        return True

    def _talk(self) -> None:
        link, self._standing = self._standing or self._connect(), None
        self._use(link)
        self._stood = True
        self._proven = None
        while not self._over.is_set():
            view, lease = self._runtime.due(self._run_id)
            if not self._proven and self._prove(link):
                self._proven = link
                self._runtime.located(self._run_id, self._place.address)
            if view:
                self._tell(link, view)
                continue
            asked_at = self._runtime.now()
            try:
                self._saw(self._poll(link, lease) if lease and self._proven else link.state(), asked_at)
            except Busy:
                self._runtime.spoke(self._run_id)
            self.pause(self._runtime.pause_s(self._run_id))

    def _connect(self) -> MemberLink:
        asked_at = self._runtime.now()
        link, state = reach(self._dial, self._place)
        self._runtime.answered(self._run_id, report(state), asked_at)
        return link

    def _poll(self, link: MemberLink, lease: Lease) -> MemberState:
        return link.poll(lease, self._runtime.second_ports_to_tell(self._run_id))

    def _prove(self, link: MemberLink) -> bool:
        """Returns False if the member knows no secret yet: then it takes a view from anybody."""
        view = self._runtime.known_view
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
        except CannotFeed as error:
            if line := self._complaint.line(str(error)):
                log.warning("%s", line)
            self._runtime.cannot_feed(self._run_id, view.epoch)
            self.pause(RETRY_S)
        except Stale as error:
            self._runtime.superseded(error.view)
            self.pause(RETRY_S)
        else:
            self._runtime.adopted(self._run_id, view.epoch)

    def _saw(self, state: MemberState, asked_at: float) -> None:
        self._complaint.over()  # a view that it refuses would have come before
        self._runtime.answered(self._run_id, report(state), asked_at)


class ReportSession(MemberSession):
    """Waits for the member's reports of broken links."""

    def __init__(self, member: Member, runtime: Runtime, addresses: Addresses, dial: Dial) -> None:
        super().__init__(member, runtime, addresses)
        self._dial = dial

    def _talk(self) -> None:
        view = self._runtime.known_view
        if view is None or not self._knows_view():
            return
        link = self._dial(Endpoint(self._place.address, self._place.port))
        self._use(link)
        link.prove(view.secret, self._run_id)
        self._stood = True
        while not self._over.is_set():
            broken_links = parse_broken_links(link.watch())
            self._runtime.reported(self._run_id, broken_links)
            self._keep_calm()
            self._runtime.look_around([each.run_id for each in broken_links])


class LifelineSession(MemberSession):
    """Holds the lifeline until the member's process ends."""

    def __init__(self, member: Member, runtime: Runtime, addresses: Addresses, hold: Hold) -> None:
        super().__init__(member, runtime, addresses)
        self._hold = hold
        self._line: Line | None = None  # the one that is held, or was held last

    def _talk(self) -> None:
        view = self._runtime.view
        if view is None or not self._knows_view():
            return
        port = self._runtime.lifeline_port(self._run_id)
        if not port:
            raise Silent(f"{self.member}: offers no lifeline")
        line = self._hold(Endpoint(self._place.address, port), view.secret, self._run_id)
        self._use(line)
        self._line = line
        self._stood = True
        self._complaint.over()
        self._runtime.lifeline(self._run_id, Lifeline.HELD)
        line.await_end()

    def _conclude(self, error: MemberError) -> float:
        """A lifeline that cannot be held proves nothing: a firewall may block that port."""
        if self._over.is_set():
            return 0
        if self._stood:
            if isinstance(error, Closed):
                self._runtime.lifeline(self._run_id, Lifeline.ENDED, is_refused=self._is_refused())
                self._keep_calm()
                self._runtime.look_around([self._run_id])
            else:
                self._runtime.lifeline(self._run_id, Lifeline.NONE)
            return ENDED_RETRY_S
        if self._runtime.is_well(self._run_id) and (line := self._complaint.line(str(error))):
            log.warning("%s: if %s dies, that is noticed only when its lease has run out", line, self.member)
        return ENDED_RETRY_S

    def _is_refused(self) -> bool:
        """Returns True if nobody listens on the member's port: with the end of the lifeline, that is its end.

        Other sessions would find that, too, one thread after the other.
        """
        return self._line is not None and not self._is_elsewhere and self._line.is_refused(self._place.port)


def report(state: MemberState) -> MemberReport:
    """What the protocol has to know of a member's state."""
    durable = state.record_durable and state.record_epoch == state.epoch
    broken_links = parse_broken_links(state.unreached)
    return MemberReport(
        state.epoch, state.serving, state.stamp, broken_links, durable, state.checkpointed, state.lifeline,
        state.applied, state.committed, state.timeout, state.unreached_why, state.longest_lease,
        state.second_port,
    )  # fmt: skip
