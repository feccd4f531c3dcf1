# SPDX-License-Identifier: Apache-2.0
"""Reconfiguration: the stored configuration and an event go in, the next configuration to store comes out.

A configuration names everything that a master needs to carry it out. So a master that was killed after storing it goes
on with the very same steps. The members that the view leaves out hear of it first: by rule 4 a view takes effect only
when each of these has acknowledged it, is known to be dead, or certainly has no lease any more. Then the members of the
view hear of it.
"""

from dataclasses import dataclass, replace

from chainredis.protocol.errors import CommandError
from chainredis.protocol.view import MAX_MEMBERS, Kind, Member, View

# A store that went back had a view for each epoch up to the newest that a member knows, and perhaps for later ones that
# nobody alive knows. None of these epochs may be used again for another view. No store is so far ahead.
EPOCHS_LEFT_OUT = 1000


@dataclass(frozen=True)
class Configuration:
    """A view, and what a master has to remember beside it. This is what is stored.

    leaving: members of former views that may not know yet that they are out. pending: the tail was just added, and has
    not been seen to serve yet; until then the next view is made from the members before it alone (design.md 5,
    "Joining"). lease_ms: the length in milliseconds of every lease that is granted while this is the newest
    configuration. awaited: members of a chain that died as a whole and was formed again without them; each is added
    when it is back. fallen: members that a fault took out, and no operator; each may come back, and is awaited too if
    the rest of the chain dies. durable: run_ids of members, and of those that may come back, that had everything on
    disk before it left them.
    formed_from: the run_id under which the only member wrote the durable record that it was chosen for. newer: the
    newest view that a member is known to know, if that is not this one: the store has gone back.
    """

    view: View
    leaving: tuple[Member, ...] = ()
    pending: bool = False
    lease_ms: int = 0
    awaited: tuple[Member, ...] = ()
    fallen: tuple[Member, ...] = ()
    durable: tuple[str, ...] = ()
    formed_from: str = ""
    newer: View | None = None

    @property
    def complete(self) -> tuple[Member, ...]:
        """The members that certainly have every committed update."""
        return self.view.members[:-1] if self.pending else self.view.members

    @property
    def with_data(self) -> tuple[Member, ...]:
        """Whose disks may have data of the chain: the members, and those that may come back."""
        return self.view.members + self.awaited + self.fallen


@dataclass(frozen=True)
class Health:
    """Run_ids of processes that were just found alive, and of those that are known to be dead."""

    alive: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Begin:
    """A first member for a chain that has no members, or none alive.

    random: 32 fresh bytes, for history and secret. empty: run_ids of those of `with_data` whose address is now used by
    a server without their data. assigned: the epoch in which the newest update of the member's data was assigned, if
    that data is a backup: the epochs go on from there. kind: the one that the member's server is set to.
    """

    member: Member
    random: bytes
    health: Health = Health()
    empty: frozenset[str] = frozenset()
    assigned: int = 0
    kind: Kind = Kind.PUT

    @property
    def history(self) -> str:
        return self.random[:16].hex()

    @property
    def secret(self) -> str:
        return self.random[16:32].hex()


@dataclass(frozen=True)
class Add:
    """A member that has a copy of the tail's data, and is fed by the tail, becomes the new tail."""

    member: Member


@dataclass(frozen=True)
class Remove:
    """A member leaves. is_fault: no operator has asked for that, and the member may come back."""

    member: Member
    health: Health
    is_fault: bool = False


@dataclass(frozen=True)
class Form:
    """One survivor becomes the chain. epoch: the newest that it knows. newer: as in Configuration."""

    survivor: Member
    epoch: int
    health: Health
    newer: View | None = None


@dataclass(frozen=True)
class BringForward:
    """The store has gone back, and every member of the view `newer` has answered, and is in no view after it.

    leaving: members of former views that `newer` leaves out. pending: the tail may be one that was just being added.
    """

    newer: View
    leaving: tuple[Member, ...] = ()
    pending: bool = False


@dataclass(frozen=True)
class Recover:
    """The store is lost, and a restarted process of a chain of that history becomes the chain.

    epoch: the newest that the process knows. random: 16 fresh bytes, for the secret. kind: of the process's data.
    """

    survivor: Member
    history: str
    epoch: int
    random: bytes
    kind: Kind = Kind.PUT


@dataclass(frozen=True)
class Repair:
    """The processes with these run_ids serve nothing and never will: dead, or silent and certainly without a lease."""

    gone: frozenset[str]


@dataclass(frozen=True)
class Returned:
    """A process that has a record of a dead chain on its disk.

    former: the run_id of the process that wrote the record. epoch: of the view that the record names. durable:
    everything was on that disk before it left the process. assigned, applied: how far the data goes, as an epoch and a
    sequence number.
    """

    member: Member
    former: str
    epoch: int
    durable: bool
    assigned: int
    applied: int


@dataclass(frozen=True)
class Reform:
    """The chain is dead as a whole, and these processes are back. A new tail that is pending may be alive."""

    returned: tuple[Returned, ...]
    health: Health


@dataclass(frozen=True)
class Forget:
    """The member is not awaited any more, and what it has on its disk does not count any more."""

    member: Member


@dataclass(frozen=True)
class Move:
    """The very same process of this member is reached at another address."""

    member: Member


Event = Begin | Add | Remove | Form | BringForward | Recover | Repair | Move | Reform | Forget


def reconfigure(now: Configuration | None, event: Event) -> Configuration:
    """The configuration to store next. now: the stored one, None for none. CommandError if the event is impossible."""
    following = _following(now, event)
    known = {member.run_id for member in following.with_data}
    return replace(following, durable=tuple(run_id for run_id in following.durable if run_id in known))


def _following(now: Configuration | None, event: Event) -> Configuration:
    match event:
        case Begin():
            return _begin(now, event)
        case BringForward():
            return _bring_forward(event)
        case Recover():
            return _recover(now, event)
        case Form() if event.newer:
            return _form_beyond(now, event, event.newer)
    if now is None:
        raise CommandError("the chain has no members: MASTER.ADD host port makes a server its first one")
    return _go_on(now, event)


def _go_on(now: Configuration, event: Add | Remove | Form | Repair | Move | Reform | Forget) -> Configuration:
    """An event of a chain that is stored already."""
    match event:
        case Repair():
            return _repair(now, event)
        case Reform():
            return _reform(now, event)
        case Forget():
            forgotten = _forget(now, event.member)
            return replace(forgotten, durable=tuple(each for each in now.durable if each != event.member.run_id))
    if now.leaving:
        raise CommandError(f"{now.leaving[0]} has not acknowledged yet that it is no member any more: try again later")
    match event:
        case Move():
            return _move(now, event)
        case Add():
            return _add(now, event)
        case Remove():
            return _remove(now, event)
        case Form():
            return _form(now, event)


# ------------------------------------------------------------------------------------------- what operators decide


def _begin(now: Configuration | None, event: Begin) -> Configuration:
    if now is not None:
        for member in now.view.members + now.leaving:
            if member.run_id not in event.health.dead:
                raise CommandError(f"{member} may be alive: the chain is not lost")
        for member in now.with_data:
            if member.run_id in now.durable and member.run_id not in event.empty:
                raise CommandError(_why_not_begun(now, member))
    # Another history has epochs of its own. They go on growing all the same: one epoch names one view of this master.
    epoch = max(now.view.epoch if now else 0, event.assigned) + 1
    return Configuration(View(event.history, epoch, (event.member,), event.secret, event.kind))


def _why_not_begun(now: Configuration, member: Member) -> str:
    lost = f"If that disk is lost, MASTER.REMOVE {member.host} {member.port}"
    if now.view.member(member.run_id):
        return (
            f"{member} has all of the chain's data on its disk, and does not answer: start it, and the chain is formed "
            f"again. {lost}"
        )
    return (
        f"{member} had all of the chain's data on its disk when it was last in it, and does not answer: start it, and "
        f"MASTER.FORM {member.host} {member.port} makes it the chain with that. {lost}"
    )


def _add(now: Configuration, event: Add) -> Configuration:
    if now.pending:
        raise CommandError(
            f"{now.view.tail} was added and has not been seen to serve yet: try again later, or MASTER.REMOVE it"
        )
    if now.view.member(event.member.run_id):
        raise CommandError(f"{event.member} is already in the chain")
    if len(now.view.members) >= MAX_MEMBERS:
        raise CommandError(f"the chain has {MAX_MEMBERS} members, which is as many as it can have")
    view = _next(now.view, (*now.view.members, event.member))
    return replace(now, view=view, pending=True, formed_from="")


def confirmed(now: Configuration) -> Configuration:
    """The new tail serves. Until then its former process stays among the awaited or fallen: the addition may fail."""
    return replace(_forget(now, now.view.tail), pending=False)


def _remove(now: Configuration, event: Remove) -> Configuration:
    if len(now.view.members) == 1:
        raise CommandError(f"{event.member} is the only member, and the data with it: MASTER.ADD another one first")
    rest = tuple(member for member in now.complete if member != event.member)
    # Rule 3: committed updates survive only in a complete member that is alive.
    if not any(member.run_id in event.health.alive for member in rest):
        raise CommandError(
            f"without {event.member} no member with all the data would be left alive: MASTER.ADD another one first"
        )
    left = _leave_out(now, _next(now.view, rest), event.health.dead)
    return _fell(left, now, (event.member,)) if event.is_fault else _forget(left, event.member)


def _form(now: Configuration, event: Form) -> Configuration:
    survivor = event.survivor
    if now.view.member(survivor.run_id):
        if survivor.run_id not in {member.run_id for member in now.complete}:
            raise CommandError(f"{survivor} was still being added: it may not have all the data")
    else:
        # A process of the view has everything that was committed; a restarted one may lack some of it (rule 3).
        for member in now.view.members:
            if member.run_id not in event.health.dead:
                raise CommandError(f"{member} is in the chain and may be alive: MASTER.FORM that one, or end it first")
    # The store may have gone back, and all who know that may be dead, or silent.
    view = _next(replace(now.view, epoch=_beyond(max(now.view.epoch, event.epoch))), (survivor,))
    return replace(_leave_out(now, view, event.health.dead), awaited=(), fallen=())


def _form_beyond(now: Configuration | None, event: Form, newer: View) -> Configuration:
    """The store has gone back: the next view follows the newer one. Members of either view hear of it (rule 4)."""
    former = now.view.members + now.leaving if now else ()
    outside = tuple(member for member in former if not newer.member(member.run_id))
    known = Configuration(newer, leaving=outside, lease_ms=now.lease_ms if now else 0)
    return _form(known, replace(event, epoch=max(newer.epoch, event.epoch) + 1))


def _beyond(epoch: int) -> int:
    return epoch + EPOCHS_LEFT_OUT


def _recover(now: Configuration | None, event: Recover) -> Configuration:
    if now is not None:
        raise CommandError(f"the chain is known here, which is {now.view.names}")
    view = View(event.history, _beyond(event.epoch), (event.survivor,), event.random.hex(), event.kind)
    return Configuration(view)


# ---------------------------------------------------------------------------------------- what the master does itself


def _bring_forward(event: BringForward) -> Configuration:
    """The newer view again, with an epoch that was never used.

    Nobody serves in a later view: a view adds members only when all of the view before serve in that, and otherwise
    has only members of the view before, except for one that was formed when all of these were dead.
    """
    view = replace(event.newer, epoch=_beyond(event.newer.epoch))
    return Configuration(view, event.leaving, event.pending)


def _repair(now: Configuration, event: Repair) -> Configuration:
    """The survivors, in their order. The new tail of a pending view is not one of them."""
    rest = tuple(member for member in now.complete if member.run_id not in event.gone)
    if not rest:
        raise CommandError("no member with all the data is left")
    fallen = tuple(member for member in now.view.members if member.run_id in event.gone)
    return _fell(_leave_out(now, _next(now.view, rest), event.gone), now, fallen)


def _fell(left: Configuration, before: Configuration, members: tuple[Member, ...]) -> Configuration:
    """Adds the members to the fallen; of each address the newest process counts.

    A tail that was never seen to serve was no member yet.
    """
    whole = [member for member in members if member in before.complete]
    places = {(member.address, member.port): member for member in (*reversed(left.fallen), *reversed(whole))}
    return replace(left, fallen=tuple(reversed(places.values()))[:MAX_MEMBERS])


def _move(now: Configuration, event: Move) -> Configuration:
    """Members keep their connections to members whose address stays the same."""
    members = tuple(event.member if each.run_id == event.member.run_id else each for each in now.view.members)
    return replace(now, view=_next(now.view, members))


def _reform(now: Configuration, event: Reform) -> Configuration:
    """From one process that lost nothing; if there is none, from the longest of all processes (design.md, "Restart").

    A durable record may name an older view than the stored one. Then its process never entered the newer view, and
    nothing was committed there without it. A master that was killed between storing and telling leaves such a record.
    So does a process that was chosen here and died before it heard of that: its disk is as it was before.
    """
    back = [each for each in event.returned if not now.view.member(each.member.run_id)]
    if ahead := [each for each in back if each.epoch > now.view.epoch]:
        raise CommandError(
            f"the stored view, of epoch {now.view.epoch}, has gone back: {ahead[0].member} has on its disk that it was "
            f"in one of epoch {ahead[0].epoch}. MASTER.FORM host port forms the chain from one member, and loses what "
            "that one lacks"
        )
    complete = {member.run_id for member in now.complete} | ({now.formed_from} - {""})
    fit = [each for each in back if each.durable and each.former in complete] or _all_of_them(now, event.health, back)
    best = max(fit, key=lambda each: (each.assigned, each.applied))
    everybody = {member.endpoint: member for member in now.awaited + now.fallen + now.view.members}
    # A new tail that was still pending may be alive: it has to leave like anybody who is left out.
    formed = _leave_out(now, _next(now.view, (best.member,)), frozenset())
    if best.durable:
        formed = replace(formed, durable=(best.member.run_id, *now.durable), formed_from=best.former)
    return _forget(replace(formed, awaited=tuple(everybody.values()), fallen=()), best.member)


def _all_of_them(now: Configuration, health: Health, back: list[Returned]) -> list[Returned]:
    """No process has kept everything: the one with the most updates is the chain, so all of them are needed.

    A pending tail may have served already, and may have more updates than the others.
    """
    fit = [each for each in back if each.epoch == now.view.epoch and now.view.member(each.former)]
    missing = [str(member) for member in now.complete if member.run_id not in {each.former for each in fit}]
    if missing:
        raise CommandError(
            f"no process of the chain lives, and none that came back had all updates on its disk at all times: "
            f"waiting for {', '.join(missing)}; or MASTER.FORM host port forms it with what that one has"
        )
    if now.pending and now.view.tail.run_id not in health.dead:
        raise CommandError(
            f"{now.view.tail} was just being added, and may live and have more than what the others kept on their "
            "disks: waiting until it serves, or has ended"
        )
    return fit


def _forget(now: Configuration, present: Member) -> Configuration:
    """Nobody is awaited any more at the host or address of `present`."""
    awaited, fallen = (
        tuple(member for member in members if not _is_same_place(member, present))
        for members in (now.awaited, now.fallen)
    )
    return replace(now, awaited=awaited, fallen=fallen)


def _is_same_place(one: Member, other: Member) -> bool:
    """Compares host names, which may lead elsewhere by now, and addresses, which may have several names."""
    return one.endpoint == other.endpoint or (one.address, one.port) == (other.address, other.port)


def _next(view: View, members: tuple[Member, ...]) -> View:
    return replace(view, epoch=view.epoch + 1, members=members)


def _leave_out(now: Configuration, view: View, gone: frozenset[str]) -> Configuration:
    """Members that are left out and not gone have to acknowledge the view, or their leases have to end (rule 4)."""
    leaving = tuple(
        member
        for member in now.leaving + now.view.members
        if not view.member(member.run_id) and member.run_id not in gone
    )
    return replace(now, view=view, leaving=leaving, pending=False, formed_from="", newer=None)
