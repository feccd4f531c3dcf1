# SPDX-License-Identifier: Apache-2.0
"""Texts for people: why the newest view is not in force, above all when the store has gone back."""

from collections.abc import Mapping, Sequence

from chainredis.protocol.member_record import MemberRecord
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Member, View

# While a connection is made anew, it is broken for a moment.
WORTH_TELLING_MS = 1000


def why_outdated(stored: View | None, newer: View | None, silent: Sequence[Member]) -> str:
    """newer: the view that members know, None before one has told it. silent: its members that do not answer."""
    loss = f"the stored view has gone back to epoch {stored.epoch}" if stored else "the stored view is lost"
    if newer is None:
        return (
            f"{loss}: a member is in a newer one, and is being asked for it. If it does not tell, that is of another "
            "history: restore what was stored last, or begin with an empty store and MASTER.FORM"
        )
    awaited = f"answer: {', '.join(map(str, silent))}" if silent else "have answered for a heartbeat timeout"
    return (
        f"{loss}, and there was one of epoch {newer.epoch}. That is stored again as soon as all its members {awaited}. "
        "MASTER.FORM host port does not wait for all, and loses what that one member lacks"
    )


def why_unsettled(configuration: Configuration, idle: Sequence[Member], *, is_lost: bool) -> str:
    """idle: members of the view that do not serve in it. is_lost: no member with all the data is left."""
    if is_lost:
        return f"no process of the chain lives, which was {configuration.view.names}"
    if configuration.leaving:
        return f"{configuration.leaving[0]} may still serve, and has not acknowledged yet that it is no member any more"
    return f"not serving in it yet: {', '.join(map(str, idle))}" if idle else "it is just being changed"


def why_unlinked(view: View, records: Mapping[str, MemberRecord]) -> str:
    """A broken link of a chain that serves otherwise. Returns "" if there is none."""
    for member in view.members:
        report = records[member.run_id].report
        for link in report.broken_links if report else ():
            other = view.member(link.run_id)
            if report and other and link.for_ms >= WORTH_TELLING_MS:
                why = f": {report.why_broken}" if report.why_broken else ""
                return f"{member} has no connection to {other} that lasts, for {link.for_ms // 1000} s{why}"
    return ""
