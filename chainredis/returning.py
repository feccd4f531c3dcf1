"""A chain that died as a whole: formed again from what its members kept on disk (DESIGN.md, "Restart")."""

import logging
import threading

from chainredis.adding import Additions
from chainredis.addresses import Addresses
from chainredis.errors import CommandError, MemberError, StoreError
from chainredis.keeper import Keeper
from chainredis.looking import Acquaintance, whereabouts
from chainredis.member_client import Dial
from chainredis.transitions import Change, Health, Reform, Returned
from chainredis.view import Endpoint, Member

log = logging.getLogger(__name__)

# After a copy that failed, before it is tried again.
ADD_RETRY_S = 5.0


class Returns(threading.Thread):
    """Waits for processes to come back: first for one that is the chain again, then for those that it is to be with.

    Only members of the chain that died are awaited; who was restarted while the others lived is MASTER.ADD's.
    """

    def __init__(
        self, keeper: Keeper, additions: Additions, dial: Dial, addresses: Addresses, retry_interval_s: float
    ) -> None:
        super().__init__(name="chain-returns", daemon=True)
        self._keeper = keeper
        self._additions = additions
        self._dial = dial
        self._addresses = addresses
        self._retry_interval_s = retry_interval_s
        self.waits_for = ""

    def run(self) -> None:
        while self._keeper.wait_for(lambda steward: steward.is_lost or steward.is_short, None):
            pause_s = self._retry_interval_s
            try:
                if self._keeper.is_lost:
                    self._reform()
                else:
                    pause_s = self._complete()
            except (CommandError, StoreError) as error:
                self._wait_for(str(error))
            except Exception:
                log.exception("forming the chain again failed in a way that nobody has thought of")
            self._keeper.wait_for(lambda _: False, pause_s)

    def _wait_for(self, text: str) -> None:
        """Said once, not at every look."""
        if text and text != self.waits_for:
            log.warning("%s", text)
        self.waits_for = text

    def _reform(self) -> None:
        change = self._keeper.change
        assert change is not None
        found = [self._look(member) for member in change.view.members]
        if all(each and each.state.applied < 0 and not each.state.record_epoch for each in found):
            raise CommandError("no process of the chain lives, and none kept its data: MASTER.ADD begins a new history")
        returned = tuple(_returned(each) for each in found if each and each.state.history == change.view.history)

        def reform(now: Change | None, health: Health) -> Reform:
            if now != change or not self._keeper.is_lost:
                raise CommandError("the chain has just been changed")
            return Reform(returned, health)

        formed = self._keeper.enact(reform)
        log.warning("the chain is formed again by %s, with what it had on its disk", formed.view.head)
        self._wait_for("")

    def _complete(self) -> float:
        """Add one of those that are missing since the chain was formed again."""
        change = self._keeper.change
        pause_s = self._retry_interval_s
        for member in change.awaited if change else ():
            if back := self._look(member, keep=True):
                try:
                    self._additions.add(back)
                except CommandError as error:
                    self._wait_for(f"{member} is back, and cannot be added: {error}")
                    pause_s = ADD_RETRY_S
                    continue
                finally:
                    back.link.close()
                log.warning("%s is back in the chain", member)
                self._wait_for("")
        return pause_s

    def _look(self, member: Member, *, keep: bool = False) -> Acquaintance | None:
        """Whoever answers at that place now, if it is a member's process that has loaded its data."""
        member = whereabouts(self._addresses, member)
        try:
            link = self._dial(Endpoint(member.address, member.port))
        except MemberError:
            return None
        try:
            state = link.state()
            found = Acquaintance(Member(member.host, member.address, member.port, state.run_id), link, state)
        except (MemberError, ValueError):
            link.close()
            return None
        if not keep:
            link.close()
        return found


def _returned(back: Acquaintance) -> Returned:
    state = back.state
    return Returned(
        back.member, state.record_run_id, state.record_epoch, state.record_durable, state.assigned, state.applied
    )
