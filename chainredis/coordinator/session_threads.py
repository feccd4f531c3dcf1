# SPDX-License-Identifier: Apache-2.0
"""The sessions with all members that a master follows, and in which order their threads begin."""

import threading
import time
from collections.abc import Iterable, Mapping

from chainredis.coordinator.member_session import LifelineSession, MemberSession, PollSession, ReportSession
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.view import Member, View
from chainredis.transport.addresses import Addresses
from chainredis.transport.lifeline import Hold
from chainredis.transport.member_client import Dial, MemberLink

# So long a new master waits for the answers on links that it has made before, all together.
ANSWER_S = 0.02
# A new master can do nothing before all members have answered. Then commands have waited for it, and its other threads
# leave the interpreter to these for so long. Polls begin earlier when a command's view has been stored.
POLLS_AFTER_S, OTHERS_AFTER_S = 0.004, 0.03

Sessions = tuple[PollSession, ReportSession, LifelineSession]


class SessionThreads:
    """Three threads for each member that the runtime wants to have followed.

    standing: links to members, by run_id, on which nothing is under way. They are used at the beginning, or closed.
    """

    def __init__(
        self,
        runtime: Runtime,
        dial: Dial,
        hold: Hold,
        addresses: Addresses,
        standing: Mapping[str, MemberLink] | None = None,
    ) -> None:
        self._runtime = runtime
        self._dial = dial
        self._hold = hold
        self._addresses = addresses
        self._standing = dict(standing or {})
        self._sessions: dict[str, Sessions] = {}

    def follow(self, members: tuple[Member, ...]) -> None:
        """Called with the runtime's lock held, for which the first answers wait: the threads begin a moment later."""
        wanted = {member.run_id: member for member in members}
        for run_id in self._sessions.keys() - wanted.keys():
            for session in self._sessions.pop(run_id):
                session.end()
        is_new_master = not self._sessions and len(wanted) > 1
        begun = [self._new_sessions(wanted[run_id]) for run_id in wanted.keys() - self._sessions.keys()]
        for run_id, member in wanted.items():
            for session in self._sessions[run_id]:
                session.member = member
        self._close_standing()
        if begun:
            threading.Thread(target=_begin, args=(begun, is_new_master), name="chain-sessions", daemon=True).start()

    def _new_sessions(self, member: Member) -> Sessions:
        who = (member, self._runtime, self._addresses)
        poll = PollSession(*who, self._dial, self._standing.pop(member.run_id, None))
        poll.ask()
        self._sessions[member.run_id] = sessions = (
            poll, ReportSession(*who, self._dial), LifelineSession(*who, self._hold),
        )  # fmt: skip
        return sessions

    def _close_standing(self) -> None:
        while self._standing:
            self._standing.popitem()[1].close()

    def wake(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            if sessions := self._sessions.get(run_id):
                sessions[0].wake()

    def announce(self, view: View, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            if sessions := self._sessions.get(run_id):
                sessions[0].announce(view)


def _begin(begun: list[Sessions], is_new_master: bool) -> None:
    """The polls first. An ended session's thread ends at once."""
    until = time.monotonic() + ANSWER_S
    try:
        heard = [poll.hear(max(until - time.monotonic(), 0)) for poll, *_ in begun]
        if is_new_master and all(heard):
            begun[0][0].pause(POLLS_AFTER_S)
    finally:
        for poll, *_ in begun:
            poll.start()
    if is_new_master:
        time.sleep(OTHERS_AFTER_S)
    others: list[MemberSession] = [session for _, *rest in begun for session in rest]
    for session in others:
        session.start()
