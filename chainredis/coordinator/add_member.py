"""MASTER.ADD: a server becomes the first member of a chain, or its new tail."""

import enum
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chainredis.coordinator.joining import JoinFailed, bring_in
from chainredis.coordinator.probe import ProbedServer, at_current_address, reach
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.errors import CommandError, Loading, MemberError, OtherProcess, Rejected
from chainredis.protocol.reconfiguration import Add, Begin, Configuration, Health
from chainredis.protocol.view import Endpoint, Member, View
from chainredis.transport.addresses import Addresses
from chainredis.transport.member_client import Dial, MemberLink
from chainredis.transport.settings import Settings

log = logging.getLogger(__name__)


class ExistingData(enum.Enum):
    """What is to become of the data that a server has already."""

    KEEP = "it is the first member's, or of this chain"
    DISCARD = "it may go"
    ADOPT = "it is a backup, with which a chain begins anew"
    ADOPT_INCOMPLETE = "so it is, and may lack keys that its member had flushed"

    @property
    def is_backup(self) -> bool:
        return self in (ExistingData.ADOPT, ExistingData.ADOPT_INCOMPLETE)


class Addition:
    """One, from when it is asked for to its end. It may be called off until the view with the newcomer is decided."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.over = threading.Event()
        self.is_off = self.is_decided = False
        self._links: list[MemberLink] = []

    def watch(self, link: MemberLink) -> None:
        """To be interrupted when it is called off."""
        self._links.append(link)

    def call_off(self) -> None:
        """From any thread."""
        self.is_off = True
        for link in self._links:
            link.interrupt()

    def check(self) -> None:
        if self.is_off:
            raise CommandError(
                f"MASTER.REMOVE {self.endpoint.host} {self.endpoint.port} has called this off: the chain is as it was"
            )


class Additions:
    """One at a time. Repairs and removals go on meanwhile: an addition that finds the chain changed is off."""

    def __init__(self, runtime: Runtime, dial: Dial, addresses: Addresses, settings: Settings) -> None:
        self._runtime = runtime
        self._dial = dial
        self._addresses = addresses
        self._settings = settings
        self._moved = threading.Condition()
        self._asked_for: list[Addition] = []  # the first one's turn it is
        self._brought_back: set[str] = set()  # run_ids, of members
        self.progress = ""

    @contextmanager
    def turn(self, endpoint: Endpoint) -> Iterator[Addition]:
        """Waits until those that were asked for before are over. CommandError when it is called off."""
        addition = Addition(endpoint)
        with self._moved:
            self._asked_for.append(addition)
            self._moved.wait_for(lambda: addition.is_off or self._asked_for[0] is addition)
        try:
            addition.check()
            yield addition
        finally:
            with self._moved:
                self._asked_for.remove(addition)
                self._moved.notify_all()
            self.progress = ""
            addition.over.set()

    def call_off(self, endpoint: Endpoint) -> bool:
        """What has been asked for and not decided ends; returns when it has. False: there is no such addition."""
        with self._moved:
            found = [each for each in self._asked_for if each.endpoint == endpoint and not each.is_decided]
            for addition in found:
                addition.call_off()
            self._moved.notify_all()
        self._runtime.stir()
        for addition in found:
            addition.over.wait()
        return any(not addition.is_decided for addition in found)

    def add(self, addition: Addition, newcomer: ProbedServer, existing: ExistingData = ExistingData.KEEP) -> None:
        """Raises CommandError."""
        addition.watch(newcomer.link)
        view = self._chain_for(newcomer.member, addition)
        if view is None:
            self._add_first(addition, newcomer, existing)
        elif existing.is_backup:
            raise CommandError(f"this chain has members, {view.names}: a backup begins a chain that has none")
        else:
            self._add_tail(addition, newcomer, view, discard=existing is ExistingData.DISCARD)

    def bring_back(self, addition: Addition, member: ProbedServer) -> None:
        """As `add`, without an operator: one of this chain, or empty."""
        self.add(addition, member)
        view = self._runtime.view
        inside = {each.run_id for each in view.members} if view else set()
        self._brought_back = (self._brought_back & inside) | {member.member.run_id}

    def has_brought_back(self, member: Member) -> bool:
        """It is in the chain already, and no operator has asked for that."""
        view = self._runtime.view
        return view is not None and view.member(member.run_id) is not None and member.run_id in self._brought_back

    def _chain_for(self, newcomer: Member, addition: Addition) -> View | None:
        """The chain that it is to be added to, whole and serving; None when there is none, or none alive."""
        addition.check()
        configuration = self._runtime.configuration
        if configuration is None:
            return None
        for member in configuration.view.members:
            if member.run_id == newcomer.run_id:
                alias = f", as {member}" if member.endpoint != newcomer.endpoint else ""
                raise CommandError(f"{newcomer} is already in the chain{alias}")
            if (member.address, member.port) == (newcomer.address, newcomer.port):
                self._await_end(member, addition)
        if self._runtime.await_settled(lambda: addition.is_off):
            return self._runtime.view
        addition.check()
        if self._runtime.is_lost:
            return None
        raise CommandError(f"{self._runtime.why_unsettled}: try again when the chain serves")

    def _await_end(self, member: Member, addition: Addition) -> None:
        """The newcomer has this member's port: either the member has ended, which is seen soon, or it has moved."""
        self._runtime.replaced(member.run_id)
        if not self._runtime.await_departure(member, lambda: addition.is_off):
            addition.check()
            raise CommandError(f"{member} is in the chain, and has not ended, though another server has its port now")

    # ----------------------------------------------------------------------------------------- the first member

    def _add_first(self, addition: Addition, newcomer: ProbedServer, existing: ExistingData) -> None:
        """What data the newcomer has becomes the chain's."""
        member, state, lost = newcomer.member, newcomer.state, self._runtime.view
        is_backup = existing.is_backup and bool(state.history)
        if lost and state.history == lost.history:
            if newcomer.has_data:
                raise CommandError(_holds_lost_data(member))
        elif state.history and newcomer.has_data and not is_backup:
            raise CommandError(
                f"{member} holds data of another chain, of history {state.history}, and cannot begin this one with it: "
                f"restart that server with an empty folder; or, if that data is a backup, MASTER.ADD {member.host} "
                f"{member.port} ADOPT begins a chain with a copy of it"
            )
        if state.unfit:
            raise CommandError(f"{member} cannot begin a chain: {state.unfit}")
        if state.history and knows_a_secret(newcomer):
            raise CommandError(f"{member} has been of a chain since it was started: restart that server first")
        empty = self._without_data(lost) if lost else frozenset()
        random = secrets.token_bytes(32)
        assigned = self._branch(newcomer, random, existing) if is_backup else 0

        def begin(_: Configuration | None, health: Health) -> Begin:
            addition.check()
            addition.is_decided = True
            return Begin(member, random, health, empty, assigned)

        self._runtime.enact(begin)
        if lost:
            log.warning("no process of history %s is alive: %s begins a new history", lost.history, member)
        self._runtime.await_service(member)

    def _branch(self, newcomer: ProbedServer, random: bytes, existing: ExistingData) -> int:
        """Have a backup's data begin the new history, before any view names it: the epoch in which its end was
        assigned. A master that is killed in between leaves a server whose history is no chain's, as it was before.
        """
        begin = Begin(newcomer.member, random)
        try:
            newcomer.link.branch(begin.history, incomplete=existing is ExistingData.ADOPT_INCOMPLETE)
            state = newcomer.link.state()
        except MemberError as error:
            raise CommandError(str(error)) from error
        log.warning(
            "%s begins a chain with a backup of history %s, up to sn %d",
            newcomer.member,
            newcomer.state.history,
            state.applied,
        )
        return max(0, state.assigned)

    def _without_data(self, lost: View) -> frozenset[str]:
        """In whose places somebody answers who has nothing of theirs. CommandError when one has what it had."""
        empty = set()
        for member in (at_current_address(self._addresses, each) for each in lost.members):
            try:
                link = self._dial(Endpoint(member.address, member.port))
            except MemberError:
                continue
            try:
                found = ProbedServer(member, link, link.state())
            except Loading as error:
                raise CommandError(f"{error}, which may be this chain's") from error
            except MemberError:
                continue
            finally:
                link.close()
            if found.state.history == lost.history and found.has_data:
                raise CommandError(_holds_lost_data(member))
            empty.add(member.run_id)
        return frozenset(empty)

    # ---------------------------------------------------------------------------------------------- a new tail

    def _add_tail(self, addition: Addition, newcomer: ProbedServer, view: View, *, discard: bool) -> None:
        member, state = newcomer.member, newcomer.state
        if not discard and state.history != view.history and (state.keys or (state.history and newcomer.has_data)):
            whose = f"another chain, of history {state.history}" if state.history else f"its own, {state.keys} keys"
            raise CommandError(
                f"{member} holds data of {whose}: MASTER.ADD {member.host} {member.port} DISCARD throws that away"
            )
        # Open until the newcomer serves: the tail keeps its log for it as long as this connection lasts.
        tail = self._proven_tail(view)
        addition.watch(tail)

        def note(text: str) -> None:
            addition.check()
            self.progress = f"{member}: {text}"

        def take_over(configuration: Configuration | None, _: Health) -> Add:
            addition.check()
            added = _unless_changed(configuration, view, member)
            addition.is_decided = True
            return added

        try:
            if state.history == view.history:
                prove_again(newcomer, view)
            bring_in(tail, newcomer, view, self._settings, note)
            note("taking over")
            self._runtime.enact(take_over)
            self._runtime.await_service(member)
        except (MemberError, JoinFailed) as error:
            addition.check()  # which may have been what broke it
            raise CommandError(f"{error}: the chain is as it was") from error
        finally:
            tail.close()
            if not addition.is_decided:
                self._let_go(member, view)

    def _let_go(self, member: Member, view: View) -> None:
        """It tries no longer to copy, nor logs for ever that it cannot. The tail's pin has gone with the connection."""
        with suppress(MemberError):
            link = self._dial(Endpoint(member.address, member.port))
            try:
                link.prove(view.secret, member.run_id)
                link.unjoin()
            finally:
                link.close()

    def _proven_tail(self, view: View) -> MemberLink:
        try:
            tail, _ = reach(self._dial, view.tail)
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        try:
            tail.prove(view.secret, view.tail.run_id)
        except MemberError as error:
            tail.close()
            raise CommandError(f"{error}: the chain is as it was") from error
        return tail


def knows_a_secret(newcomer: ProbedServer) -> bool:
    """It would take views from nobody else any more. Raises CommandError."""
    try:
        newcomer.link.prove("0" * 32, newcomer.member.run_id)
    except Rejected as error:
        return "no chain's secret" not in str(error)
    except MemberError as error:
        raise CommandError(str(error)) from error
    return True


def prove_again(newcomer: ProbedServer, view: View) -> None:
    """A former member knows the secret, unless it was restarted, and then asks for no proof. Raises OtherProcess."""
    try:
        newcomer.link.prove(view.secret, newcomer.member.run_id)
    except OtherProcess:
        raise
    except MemberError as error:
        log.info("%s", error)


def _unless_changed(configuration: Configuration | None, view: View, member: Member) -> Add:
    if configuration is None or configuration.view != view:
        raise CommandError(f"the chain has changed while {member} was being added, and goes on without it: try again")
    return Add(member)


def _holds_lost_data(member: Member) -> str:
    return (
        f"{member} holds data of this chain, none of whose processes is alive: MASTER.FORM {member.host} {member.port} "
        "makes it the chain, with what it has"
    )
