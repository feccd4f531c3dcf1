"""Two conversations with every followed process: one polls, and on the other the member may say what it suspects.

A conversation that ends is begun anew at once, which tells whether its process has ended: nobody listens there any
more, or somebody else does (DESIGN.md, "Detection").
"""

import logging
import re
import threading

from chainredis.errors import Closed, MemberError, OtherProcess, Refused, Rejected, Unfed
from chainredis.keeper import Keeper
from chainredis.looking import reach
from chainredis.member_client import Dial, MemberLink, MemberState
from chainredis.steward import Sighting, Trouble
from chainredis.view import Endpoint, Member, View

log = logging.getLogger(__name__)

RETRY_S = 0.05
# A process that has ended does not come back; another one on its port may matter to nobody, or to MASTER.FORM.
ENDED_RETRY_S = 0.5
FAULT_RETRY_S = 1.0
_TROUBLE = re.compile(r"([0-9a-f]{40}):([0-9]{1,18}):([01])")


class Watchers:
    """Follows whom the keeper wants to have followed."""

    def __init__(self, keeper: Keeper, dial: Dial) -> None:
        self._keeper = keeper
        self._dial = dial
        self._conversations: dict[str, tuple[Conversation, ...]] = {}

    def follow(self, members: tuple[Member, ...]) -> None:
        """Called with the keeper's lock held."""
        wanted = {member.run_id: member for member in members}
        for run_id in self._conversations.keys() - wanted.keys():
            for conversation in self._conversations.pop(run_id):
                conversation.end()
        for run_id in wanted.keys() - self._conversations.keys():
            pair = tuple(kind(wanted[run_id], self._keeper, self._dial) for kind in (Polling, Watching))
            self._conversations[run_id] = pair
            for conversation in pair:
                conversation.start()

    def nudge(self) -> None:
        for pair in list(self._conversations.values()):
            for conversation in pair:
                conversation.nudge()


class Conversation(threading.Thread):
    """With one process, for as long as it is followed."""

    def __init__(self, member: Member, keeper: Keeper, dial: Dial) -> None:
        super().__init__(name=f"chain-{type(self).__name__.lower()}-{member}", daemon=True)
        self._member = member
        self._run_id = member.run_id
        self._keeper = keeper
        self._dial = dial
        self._nudged = threading.Event()
        self._is_over = False
        self._stood = False
        self._link: MemberLink | None = None
        self._trouble = ""

    def end(self) -> None:
        self._is_over = True
        self.nudge()
        if link := self._link:
            link.interrupt()

    def nudge(self) -> None:
        self._nudged.set()

    def run(self) -> None:
        while not self._is_over:
            try:
                pause_s = self._converse()
            except Exception:
                log.exception("the conversation with %s failed in a way that nobody has thought of", self._member)
                pause_s = FAULT_RETRY_S
            self._pause(pause_s)

    def _converse(self) -> float:
        """From a new connection to its end. How long to wait until the next one."""
        self._stood = False
        try:
            self._talk()
        except MemberError as error:
            return self._conclude(error)
        finally:
            if self._link:
                self._link.close()
            self._link = None
        return 0

    def _conclude(self, error: MemberError) -> float:
        if self._is_over:
            return 0
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.info("%s", error)
        match error:
            case Closed() if self._stood:
                self._keeper.dropped(self._run_id)
                return 0
            case Refused():
                self._keeper.refused(self._run_id)
                return ENDED_RETRY_S
            case OtherProcess():
                self._keeper.replaced(self._run_id)
                return ENDED_RETRY_S
        return RETRY_S

    def _talk(self) -> None:
        raise NotImplementedError

    def _pause(self, seconds: float) -> None:
        """Or until nudged."""
        if seconds:
            self._nudged.wait(seconds)
        self._nudged.clear()


class Polling(Conversation):
    """Tells views, grants leases, and learns how the member is."""

    def _talk(self) -> None:
        self._link, state = reach(self._dial, self._member)
        self._stood = True
        self._saw(state)
        is_proven = False
        while not self._is_over:
            view, lease = self._keeper.due(self._run_id)
            is_proven = is_proven or self._prove(self._link)
            if view:
                self._tell(self._link, view)
                continue
            self._saw(self._link.poll(lease) if lease and is_proven else self._link.state())
            self._pause(self._keeper.pause_s(self._run_id))

    def _prove(self, link: MemberLink) -> bool:
        """False: it knows of no secret so far, and believes whoever gives it a view."""
        view = self._keeper.view
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
            log.warning("%s", error)
            self._keeper.unfed(self._run_id, view.epoch)
            self._pause(RETRY_S)
        else:
            self._keeper.adopted(self._run_id, view.epoch)

    def _saw(self, state: MemberState) -> None:
        self._trouble = ""
        self._keeper.answered(self._run_id, sighting(state))


class Watching(Conversation):
    """Waits until the member suspects somebody, or ends."""

    def _talk(self) -> None:
        view = self._keeper.view
        if view is None:
            return
        self._link = self._dial(Endpoint(self._member.address, self._member.port))
        self._link.prove(view.secret, self._run_id)
        self._stood = True
        while not self._is_over:
            self._link.watch()
            self._keeper.look()


def sighting(state: MemberState) -> Sighting:
    troubles = (Trouble(run_id, int(ms), dropped == "1") for run_id, ms, dropped in _TROUBLE.findall(state.unreached))
    return Sighting(state.epoch, state.serving, state.stamp, tuple(troubles))
