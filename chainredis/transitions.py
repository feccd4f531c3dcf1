"""The master's decisions: a view and an event in, the next view out. No I/O, no clock, no randomness.

A decision also fixes who is told in which order, and the order is derived from what is stored, so that a master
that was killed after storing goes on with the very same steps:

    first the members that the view leaves out: rule 4 lets a view take effect only when each of these
    has acknowledged it or is known to be dead;
    then its own members, tail first: a new tail is ready before its predecessor forwards to it in the new epoch.
"""

from dataclasses import dataclass, replace

from chainredis.errors import CommandError
from chainredis.view import MAX_MEMBERS, Member, View


@dataclass(frozen=True)
class Change:
    """A decision, as it is stored.

    leaving: members of former views that may not have heard that they are out. pending: the tail has just been added,
    and nobody has seen it serve yet; until then the next view is made from the members before it alone.
    """

    view: View
    leaving: tuple[Member, ...] = ()
    pending: bool = False

    @property
    def tellings(self) -> tuple[Member, ...]:
        """The view's members in the order in which they hear of it, after those that leave."""
        return self.view.members[::-1]

    @property
    def complete(self) -> tuple[Member, ...]:
        """The members that certainly have every committed update."""
        return self.view.members[:-1] if self.pending else self.view.members


@dataclass(frozen=True)
class Health:
    """The run_ids of processes just found alive, and of those known to be dead. The others: who knows."""

    alive: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Begin:
    """A first member for a chain that has none, or none alive. random: 32 fresh bytes, for history and secret."""

    member: Member
    random: bytes
    health: Health = Health()


@dataclass(frozen=True)
class Add:
    """A copy of the tail, fed by it, is to be the new tail."""

    member: Member


@dataclass(frozen=True)
class Remove:
    """A member is to leave."""

    member: Member
    health: Health


@dataclass(frozen=True)
class Form:
    """One survivor, which knows of `epoch`, is to be the chain."""

    survivor: Member
    epoch: int
    health: Health


Event = Begin | Add | Remove | Form


def decide(now: Change | None, event: Event) -> Change:
    """The next view. CommandError, with the reason, when there is none."""
    if isinstance(event, Begin):
        return _begin(now, event)
    if now is None:
        raise CommandError("the chain has no members: MASTER.ADD host port makes a server its first one")
    if now.leaving:
        raise CommandError(f"{now.leaving[0]} has not acknowledged yet that it is no member any more: try again later")
    match event:
        case Add():
            return _add(now, event)
        case Remove():
            return _remove(now, event)
        case Form():
            return _form(now, event)


def _begin(now: Change | None, event: Begin) -> Change:
    if now is not None:
        for member in now.view.members + now.leaving:
            if member.run_id not in event.health.dead:
                raise CommandError(f"{member} may be alive: the chain is not lost")
    history, secret = event.random[:16].hex(), event.random[16:32].hex()
    # Another history has epochs of its own; they grow on all the same, so that an epoch names one view of this master.
    return Change(View(history, now.view.epoch + 1 if now else 1, (event.member,), secret))


def _add(now: Change, event: Add) -> Change:
    if now.pending:
        raise CommandError(
            f"{now.view.tail} was added and has not been seen to serve yet: try again later, or MASTER.REMOVE it"
        )
    if now.view.member(event.member.run_id):
        raise CommandError(f"{event.member} is already in the chain")
    if len(now.view.members) >= MAX_MEMBERS:
        raise CommandError(f"the chain has {MAX_MEMBERS} members, which is as many as it can have")
    return Change(_next(now.view, (*now.view.members, event.member)), pending=True)


def _remove(now: Change, event: Remove) -> Change:
    if len(now.view.members) == 1:
        raise CommandError(f"{event.member} is the only member, and the data with it: MASTER.ADD another one first")
    rest = tuple(member for member in now.complete if member != event.member)
    # Rule 3: what is committed lives on only in a complete member that does.
    if not any(member.run_id in event.health.alive for member in rest):
        raise CommandError(
            f"without {event.member} no member with all the data would be left alive: MASTER.ADD another one first"
        )
    return _leave_out(now.view, _next(now.view, rest), event.health)


def _form(now: Change, event: Form) -> Change:
    survivor = event.survivor
    if now.view.member(survivor.run_id):
        if survivor.run_id not in {member.run_id for member in now.complete}:
            raise CommandError(f"{survivor} was still being added: it may not have all the data")
    else:
        # A process of the view has all that was committed; one restarted from disk perhaps not (rule 3).
        for member in now.view.members:
            if member.run_id not in event.health.dead:
                raise CommandError(f"{member} is in the chain and may be alive: MASTER.FORM that one, or end it first")
    epoch = max(now.view.epoch, event.epoch)
    view = _next(replace(now.view, epoch=epoch), (survivor,))
    return _leave_out(now.view, view, event.health)


def _next(view: View, members: tuple[Member, ...]) -> View:
    return replace(view, epoch=view.epoch + 1, members=members)


def _leave_out(old: View, new: View, health: Health) -> Change:
    leaving = tuple(member for member in old.members if not new.member(member.run_id))
    for member in leaving:
        if member.run_id not in health.alive | health.dead:
            # Rule 4: it might still answer reads as tail, so there must be no view without it.
            raise CommandError(f"{member} does not answer, and may be alive: end that process, then try again")
    return Change(new, leaving)
