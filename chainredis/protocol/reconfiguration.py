"""The master's decisions: what is stored and an event in, what is to be stored next out. No I/O, clock or randomness.

A decision names everything that a master needs to carry it out, so that one that was killed after storing goes on with
the very same steps: the members that the view leaves out hear of it first, since rule 4 lets a view take effect only
when each of these has acknowledged it, is known to be dead, or has certainly no lease any more; then the view's own.
"""

from dataclasses import dataclass, replace

from chainredis.protocol.errors import CommandError
from chainredis.protocol.view import MAX_MEMBERS, Member, View

# A store that went back had a view for each epoch up to the newest that a member knows, and perhaps for some more, of
# which nobody lives to tell: none of these may come again as another view. No store is so far ahead of all members.
EPOCHS_LEFT_OUT = 1000


@dataclass(frozen=True)
class Configuration:
    """A decision, as it is stored.

    leaving: members of former views that may not know yet that they are out. pending: the tail has just been added, and
    nobody has seen it serve yet; until then the next view is made from the members before it alone. lease_ms: the
    length of every lease that is granted while this is the newest decision. awaited: members of a chain that died as a
    whole and was formed again without them; each is added when it is back. fallen: members that a fault took out, and
    no operator: each may come back, and is awaited too if the rest of the chain dies. durable: the run_ids of members
    on whose disks everything is that they have said. formed_from: the run_id under which the only member wrote the
    durable record that it was chosen for. newer: the newest view that a member is known to know, when that is not this
    one: the store has gone back.
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
    """A first member for a chain that has none, or none alive. random: 32 fresh bytes, for history and secret.

    empty: the run_ids of former members in whose places somebody was just found who has nothing of theirs. assigned:
    the epoch in which the newest update of the member's data was assigned, if that is a backup's; its epochs go on.
    """

    member: Member
    random: bytes
    health: Health = Health()
    empty: frozenset[str] = frozenset()
    assigned: int = 0

    @property
    def history(self) -> str:
        return self.random[:16].hex()

    @property
    def secret(self) -> str:
        return self.random[16:32].hex()


@dataclass(frozen=True)
class Add:
    """A copy of the tail, fed by it, is to be the new tail."""

    member: Member


@dataclass(frozen=True)
class Remove:
    """A member is to leave. is_fault: nobody has asked for that, and it may come back."""

    member: Member
    health: Health
    is_fault: bool = False


@dataclass(frozen=True)
class Form:
    """One survivor, which knows of `epoch`, is to be the chain.

    newer: as in Change.
    """

    survivor: Member
    epoch: int
    health: Health
    newer: View | None = None


@dataclass(frozen=True)
class BringForward:
    """The store has gone back, and every member of this newer view has just been found to serve in it."""

    newer: View


@dataclass(frozen=True)
class Recover:
    """The store is lost. A restarted process of a chain of that history, which knows of `epoch`, is to be the chain.

    random: 16 fresh bytes, for the secret.
    """

    survivor: Member
    history: str
    epoch: int
    random: bytes


@dataclass(frozen=True)
class Repair:
    """These processes (run_ids) serve nothing and never will: dead, or silent and certainly without a lease."""

    gone: frozenset[str]


@dataclass(frozen=True)
class Returned:
    """A process that has a record of a dead chain on its disk.

    former: the run_id of the process that wrote the record. epoch: of the view that the record names. durable: whether
    all that this view's members said was on that disk first. assigned, applied: how far the data goes.
    """

    member: Member
    former: str
    epoch: int
    durable: bool
    assigned: int
    applied: int


@dataclass(frozen=True)
class Reform:
    """The chain is dead as a whole, and these processes are back. A new tail that is pending may live all the same."""

    returned: tuple[Returned, ...]
    health: Health


@dataclass(frozen=True)
class Forget:
    """A member that is awaited is awaited no more; what is on the disk of one that died counts no more."""

    member: Member


@dataclass(frozen=True)
class Move:
    """A member, the very same process, is reached at another address."""

    member: Member


Event = Begin | Add | Remove | Form | BringForward | Recover | Repair | Move | Reform | Forget


def reconfigure(now: Configuration | None, event: Event) -> Configuration:
    """What is to be stored next. CommandError, with the reason, when the event allows nothing."""
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
    """From what is stored, to the next epoch."""
    match event:
        case Repair():
            return _repair(now, event)
        case Reform():
            return _reform(now, event)
        case Forget():
            return replace(
                _forget(now, event.member), durable=tuple(each for each in now.durable if each != event.member.run_id)
            )
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
            if member.run_id in now.durable and member.run_id not in event.empty:
                raise CommandError(
                    f"{member} has all of the chain's data on its disk, and does not answer: start it, and the chain "
                    f"is formed again. If that disk is lost, MASTER.REMOVE {member.host} {member.port}"
                )
    # Another history has epochs of its own; they grow on all the same, so that an epoch names one view of this master.
    epoch = max(now.view.epoch if now else 0, event.assigned) + 1
    return Configuration(View(event.history, epoch, (event.member,), event.secret))


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
    """The new tail serves. Until then it is missed as before: its addition may fail."""
    return replace(_forget(now, now.view.tail), pending=False)


def _remove(now: Configuration, event: Remove) -> Configuration:
    if len(now.view.members) == 1:
        raise CommandError(f"{event.member} is the only member, and the data with it: MASTER.ADD another one first")
    rest = tuple(member for member in now.complete if member != event.member)
    # Rule 3: what is committed lives on only in a complete member that does.
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
        # A process of the view has all that was committed; one restarted from disk perhaps not (rule 3).
        for member in now.view.members:
            if member.run_id not in event.health.dead:
                raise CommandError(f"{member} is in the chain and may be alive: MASTER.FORM that one, or end it first")
    epoch = max(now.view.epoch, event.epoch)
    if epoch > now.view.epoch or not now.view.member(survivor.run_id):
        epoch = _beyond(epoch)  # the store may have gone back, and those who know that be dead
    view = _next(replace(now.view, epoch=epoch), (survivor,))
    return replace(_leave_out(now, view, event.health.dead), awaited=(), fallen=())


def _form_beyond(now: Configuration | None, event: Form, newer: View) -> Configuration:
    """From what members know, where the store knows less. Whoever was in either view is to hear of it (rule 4)."""
    former = now.view.members + now.leaving if now else ()
    outside = tuple(member for member in former if not newer.member(member.run_id))
    known = Configuration(newer, leaving=outside, lease_ms=now.lease_ms if now else 0)
    return _form(known, replace(event, epoch=max(newer.epoch, event.epoch) + 1))


def _beyond(epoch: int) -> int:
    return epoch + EPOCHS_LEFT_OUT


def _recover(now: Configuration | None, event: Recover) -> Configuration:
    if now is not None:
        raise CommandError(f"the chain is known here, which is {now.view.names}")
    return Configuration(View(event.history, _beyond(event.epoch), (event.survivor,), event.random.hex()))


# ---------------------------------------------------------------------------------------- what the master does itself


def _bring_forward(event: BringForward) -> Configuration:
    """Nobody leaves: a view in which all serve is in force, and nobody can serve in any that came after it, since each
    view has a member of the one before, but for one formed when all of these were dead.
    """
    return Configuration(replace(event.newer, epoch=_beyond(event.newer.epoch)))


def _repair(now: Configuration, event: Repair) -> Configuration:
    """The survivors, in their order. While a view is pending, its new tail is none of them."""
    rest = tuple(member for member in now.complete if member.run_id not in event.gone)
    if not rest:
        raise CommandError("no member with all the data is left")
    fallen = tuple(member for member in now.view.members if member.run_id in event.gone)
    return _fell(_leave_out(now, _next(now.view, rest), event.gone), now, fallen)


def _fell(left: Configuration, before: Configuration, members: tuple[Member, ...]) -> Configuration:
    """Of a place it is the newest process that counts. A tail that had still to be seen to serve was no member yet."""
    whole = [member for member in members if member in before.complete]
    places = {(member.address, member.port): member for member in (*reversed(left.fallen), *reversed(whole))}
    return replace(left, fallen=tuple(reversed(places.values()))[:MAX_MEMBERS])


def _move(now: Configuration, event: Move) -> Configuration:
    """Members keep their connections to whom the next view has where they were."""
    members = tuple(event.member if each.run_id == event.member.run_id else each for each in now.view.members)
    return replace(now, view=_next(now.view, members))


def _reform(now: Configuration, event: Reform) -> Configuration:
    """design.md, "Restart": from one that lost nothing, else from the longest of all of them.

    A durable record may name an older view than the stored one: then that process never entered a newer one, in which
    it was to be, and without it nothing was committed there. A master killed between storing and telling leaves it so.
    So does one that was just chosen here, and died before it heard of that: then its disk is as it was.
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
    # A new tail that was still pending may be alive: it has to go like anybody who is left out.
    formed = _leave_out(now, _next(now.view, (best.member,)), frozenset())
    if best.durable:
        formed = replace(formed, durable=(best.member.run_id,), formed_from=best.former)
    return _forget(replace(formed, awaited=tuple(everybody.values()), fallen=()), best.member)


def _all_of_them(now: Configuration, health: Health, back: list[Returned]) -> list[Returned]:
    """None has kept everything: one of them has most. A pending tail served already, perhaps, and may have more."""
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
    """At its place nobody is waited for."""
    awaited, fallen = (
        tuple(member for member in members if not _is_same_place(member, present))
        for members in (now.awaited, now.fallen)
    )
    return replace(now, awaited=awaited, fallen=fallen)


def _is_same_place(one: Member, other: Member) -> bool:
    """By its name, which may lead elsewhere by now, or by its address, which may have several."""
    return one.endpoint == other.endpoint or (one.address, one.port) == (other.address, other.port)


def _next(view: View, members: tuple[Member, ...]) -> View:
    return replace(view, epoch=view.epoch + 1, members=members)


def _leave_out(now: Configuration, view: View, gone: frozenset[str]) -> Configuration:
    """Whoever is left out and not gone has to acknowledge that, or to run out of its lease (rule 4)."""
    leaving = tuple(
        member
        for member in now.leaving + now.view.members
        if not view.member(member.run_id) and member.run_id not in gone
    )
    durable = tuple(run_id for run_id in now.durable if view.member(run_id))
    return replace(now, view=view, leaving=leaving, pending=False, durable=durable, formed_from="", newer=None)
