# SPDX-License-Identifier: Apache-2.0
"""Which member gets a command, and what is done when it does not answer: pure, for both clients.

A plan is a generator. It yields steps, which a courier carries out over its connections, and it gets the outcome of
each. It returns the reply of the command, or raises what became of it.
"""

import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import redis

from chainredis.client.errors import Fate, NotWritten, Unknown, fate_of, is_answer

Address = tuple[str, int]

MAX_PORT = 65535
FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.05
GRACE_S = 0.5  # for the answer of a server that has waited for a newer view


def address_of(text: str | bytes) -> Address:
    """The address in `host:port`. ValueError if it is none."""
    decoded = text.decode() if isinstance(text, bytes) else text
    host, _, port = decoded.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"{decoded!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def addresses_of(texts: Sequence[str]) -> tuple[Address, ...]:
    """ValueError if one is no address, or there is none; TypeError for a single one."""
    if isinstance(texts, str):      # a sequence of strings, too: its letters
        raise TypeError(f"addresses are a list, such as [{texts!r}]")
    if not texts:
        raise ValueError("a chain's client needs the address of at least one member")
    return tuple(map(address_of, texts))


@dataclass(frozen=True)
class View:
    """Who is in the chain, head first, since `epoch`."""

    epoch: int
    members: tuple[Address, ...]

    @classmethod
    def of(cls, reply: list[Any]) -> "View":
        """The reply to MEMBER.VIEW. redis.InvalidResponse if it is none."""
        epoch, *members = reply
        try:
            return cls(int(epoch), tuple(map(address_of, members)))
        except ValueError as error:
            raise redis.InvalidResponse(f"MEMBER.VIEW: {error}") from error


class Role(Enum):
    """Whom a command is for."""

    HEAD = "head"
    TAIL = "tail"
    ANY = "members"


# ------------------------------------------------------------------------------------------------ what is known


class Route:
    """What a client knows of its chain. Threads share it: each change is one assignment.

    given: the addresses that the application named, which are asked as long as nothing better is known. trouble: why
    the server that was heard of last named no chain, for people; empty if it did.
    """

    def __init__(self, given: Iterable[Address]) -> None:
        self.given = tuple(dict.fromkeys(given))
        self.view: View | None = None
        self.trouble = ""
        self._shunned: frozenset[Address] = frozenset()
        self._turns = itertools.count()

    @property
    def epoch(self) -> int | None:
        view = self.view
        return view.epoch if view else None

    def knows_newer_than(self, epoch: int | None) -> bool:
        """Is the known view newer than that of `epoch`? None: of no epoch at all."""
        known = self.epoch
        return known is not None and (epoch is None or known > epoch)

    def learn(self, view: View) -> bool:
        """Take note of a view. Returns whether it is a newer one. One without members is none."""
        known = self.view
        if not view.members or (known and known.epoch >= view.epoch):
            return False
        self.view, self._shunned = view, frozenset()
        return True

    def forget(self) -> None:
        """Take any view the next time: perhaps another chain, with lower epochs, has come in the place of this one."""
        self.view, self._shunned = None, frozenset()

    def shun(self, address: Address) -> None:
        """Prefer other members for what any member can answer, until there is another view."""
        self._shunned |= {address}

    def place(self, role: Role) -> Address | None:
        """The member that a command is for; None while no view is known. Members take turns in the role ANY."""
        view = self.view
        if view is None:
            return None
        if role is Role.HEAD:
            return view.members[0]
        if role is Role.TAIL:
            return view.members[-1]
        willing = [each for each in view.members if each not in self._shunned]
        if not willing:
            self._shunned = frozenset()
        choice = willing or view.members
        return choice[next(self._turns) % len(choice)]

    def everyone(self, but: Address | None = None) -> tuple[Address, ...]:
        """Whom to ask for the view: the known members, then the given addresses."""
        view = self.view
        known = dict.fromkeys((*(view.members if view else ()), *self.given))
        return tuple(each for each in known if each != but) or tuple(known)


# --------------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class Send:
    """Send the command to this member. The outcome is a Reply or a redis.RedisError."""

    address: Address


@dataclass(frozen=True)
class Ask:
    """Ask these servers for a view newer than `epoch`, all at once, and let the route learn the first that comes.

    They answer when they know a newer one, or after `wait_s`. If there is none, the step takes `pause_s` at least.
    The outcome is whether there was one.
    """

    addresses: tuple[Address, ...]
    epoch: int | None
    wait_s: float = 0.0
    pause_s: float = 0.0


def view_words(step: Ask) -> tuple[str | int, ...]:
    """The command that asks one server."""
    return ("MEMBER.VIEW",) if step.epoch is None else ("MEMBER.VIEW", step.epoch, max(1, int(1000 * step.wait_s)))


class Answers:
    """The answers to a question. Once somebody has answered, nobody who hangs is waited for."""

    def __init__(self, route: Route, step: Ask, now: float) -> None:
        self._route = route
        self._due = now + step.wait_s
        self._error: redis.RedisError | None = None
        self.until = self._due + GRACE_S

    def take(self, answer: View | redis.RedisError, now: float) -> bool:
        """Returns whether this is the answer that was waited for."""
        if isinstance(answer, View):
            self.until = min(self.until, max(now, self._due) + LONGEST_PAUSE_S)
            self._route.trouble = "" if answer.members else "a server there is in no chain"
            return self._route.learn(answer)
        self._route.trouble = str(answer)
        if fate_of(answer) is Fate.FINAL:
            self._error = answer
        return False

    def check(self) -> None:
        """Raise what keeps this client from finding out anything, such as a wrong password."""
        if self._error and self._route.view is None:
            raise self._error


@dataclass(frozen=True)
class Reply:
    """The reply to a command. An error is none."""

    value: Any


Step = Send | Ask
Plan = Generator[Step, Any, Any]


# --------------------------------------------------------------------------------------------------------- plans


@dataclass
class Deadline:
    """timeout_s: for how long refusals are followed, from now on. now: a monotonic clock in seconds."""

    timeout_s: float
    now: Callable[[], float]

    def __post_init__(self) -> None:
        self.at = self.now() + self.timeout_s

    @property
    def is_over(self) -> bool:
        return self.now() >= self.at

    @property
    def left_s(self) -> float:
        return max(0.0, self.at - self.now())


def deliver(
    route: Route, role: Role, deadline: Deadline, *, repeatable: bool, settles: bool = False, once: bool = False
) -> Plan:
    """Bring one command to the member that it is for.

    repeatable: it may be sent again when its answer is lost, as reads may. settles: it asks what became of another
    command, and a member that does not know is not the last one to be asked. once: it is repeatable because it is
    carried out once; when no member gives the answer again, that is Unknown.
    """
    follower = Follower(route, role)
    lost: redis.RedisError | None = None
    while True:
        address = follower.next_place()
        if address is None:
            if deadline.is_over:
                raise _given_up(lost if once else None, _why_nowhere(route))
            yield from follower.find()
            continue
        outcome = yield Send(address)
        if isinstance(outcome, Reply):
            return outcome.value
        fate = fate_of(outcome)
        if fate is Fate.FINAL and not (once and lost and not is_answer(outcome)):
            raise outcome
        if fate is Fate.LOST and not repeatable:
            raise Unknown(f"{_name(address)} got the command, and its answer is lost: {outcome}") from outcome
        if fate is Fate.LOST:
            lost = outcome
        if fate is Fate.UNKNOWN and not (settles and "the head no more" in str(outcome)):
            raise Unknown(str(outcome)) from outcome
        if deadline.is_over:
            route.forget()
            why = f"not within {deadline.timeout_s:g} s; {_name(address)} last: {outcome}"
            raise _given_up(lost if once else None, why) from outcome
        yield from follower.follow(address, outcome)


def _why_nowhere(route: Route) -> str:
    return f"no member of the chain was found at {_names(route.given)}{route.trouble and f': {route.trouble}'}"


def _given_up(lost: redis.RedisError | None, why: str) -> NotWritten | Unknown:
    """lost: why the answer to an earlier attempt did not come."""
    return Unknown(f"{why}; an answer was lost before: {lost}") if lost else NotWritten(why)


class Follower:
    """Finds out where a command goes that one member did not take. The pauses grow as long as nothing changes."""

    def __init__(self, route: Route, role: Role) -> None:
        self._route = route
        self._role = role
        self._pause_s = FIRST_PAUSE_S
        self._moved_to: Address | None = None
        self._may_jump = True  # once between two pauses: two members that name each other cost no more
        self._may_try_again = True  # likewise, after a lost connection

    def next_place(self) -> Address | None:
        moved_to, self._moved_to = self._moved_to, None
        return moved_to or self._route.place(self._role)

    def find(self) -> Generator[Step, bool, None]:
        """Find any member that knows the view."""
        yield from self._ask(self._route.everyone(), 0.0)

    def follow(self, address: Address, error: redis.RedisError) -> Generator[Step, bool, None]:
        """Go on after `address` did not take the command, for the reason `error`."""
        fate = fate_of(error)
        if fate is Fate.LOST and self._role is not Role.ANY and self._may_try_again:
            self._may_try_again = False
            return  # the connection broke: the member may be well, and another connection shows that
        if isinstance(error, redis.exceptions.MovedError) and self._may_jump:
            self._moved_to, self._may_jump = (error.host, error.port), False
            if (yield Ask((self._moved_to,), self._route.epoch)):
                self._moved_to = None
            return
        self._may_jump = self._may_try_again = True
        if self._role is Role.ANY:
            self._route.shun(address)
            others = self._route.place(self._role) != address
            yield from self._ask(self._route.everyone(but=address), 0.0, pauses=not others)
        else:
            wait_s = LONGEST_PAUSE_S if fate is Fate.UNREACHED else self._pause_s
            yield from self._ask(self._route.everyone(but=address), wait_s)

    def _ask(
        self, addresses: tuple[Address, ...], wait_s: float, *, pauses: bool = True
    ) -> Generator[Step, bool, None]:
        pause_s = self._pause_s if pauses else 0.0
        if (yield Ask(addresses, self._route.epoch, wait_s, pause_s)):
            self._pause_s = FIRST_PAUSE_S
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _names(addresses: Iterable[Address]) -> str:
    return ", ".join(map(_name, addresses))
