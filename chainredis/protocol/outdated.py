"""What people are told while the newest view is not in force: above all when the store has gone back."""

from collections.abc import Mapping, Sequence

from chainredis.protocol.evidence import Record
from chainredis.protocol.reconfiguration import Change
from chainredis.protocol.view import Member, View

# A connection that is made anew is missing for a moment.
WORTH_TELLING_MS = 1000


def outdated_by(stored: View | None, newer: View | None, idle: Sequence[Member]) -> str:
    """newer: what members know, None before one has told it. idle: those in it that were not found to serve in it."""
    loss = f"the stored view has gone back to epoch {stored.epoch}" if stored else "the stored view is lost"
    if newer is None:
        return (
            f"{loss}: a member is in a newer one, and is being asked for it. If it does not tell, that is of another "
            "history: restore what was stored last, or begin with an empty store and MASTER.FORM"
        )
    awaited = f"serve in it: {', '.join(map(str, idle))}" if idle else "have served in it for a heartbeat timeout"
    return (
        f"{loss}, and there was one of epoch {newer.epoch}. That is stored again as soon as all its members {awaited}. "
        "MASTER.FORM host port does not wait for all, and loses what that one member lacks"
    )


def unsettled_by(change: Change, idle: Sequence[Member], *, is_lost: bool) -> str:
    """idle: those in the view that were not found to serve in it. is_lost: no member with all the data is left."""
    if is_lost:
        return f"no process of the chain lives, which was {change.view.names}"
    if change.leaving:
        return f"{change.leaving[0]} may still serve, and has not acknowledged yet that it is no member any more"
    return f"not serving in it yet: {', '.join(map(str, idle))}" if idle else "it is just being changed"


def unlinked_by(view: View, records: Mapping[str, Record]) -> str:
    """Of a chain that serves, as far as this goes without a connection that is missing. Empty: none is."""
    for member in view.members:
        sighting = records[member.run_id].sighting
        for trouble in sighting.troubles if sighting else ():
            other = view.member(trouble.run_id)
            if sighting and other and trouble.for_ms >= WORTH_TELLING_MS:
                why = f": {sighting.why}" if sighting.why else ""
                return f"{member} has no connection to {other} that lasts, for {trouble.for_ms // 1000} s{why}"
    return ""
