# SPDX-License-Identifier: Apache-2.0
"""MASTER.ADD: a server becomes the first member of a chain, or its new tail."""

import enum
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from chainredis.coordinator.learner_sync import JoinFailed, sync_learner
from chainredis.coordinator.probe import ProbedServer, at_current_address, reach
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.errors import CommandError, Loading, MemberError, OtherProcess, Rejected
from chainredis.protocol.reconfiguration import Add, Begin, Configuration, Health
from chainredis.protocol.traits import why_it_cannot_follow, why_of_other_kind, why_of_other_tls
from chainredis.protocol.view import Endpoint, Member, View
from chainredis.transport.addresses import Addresses
from chainredis.transport.member_client import Dial, MemberLink
from chainredis.transport.settings import Settings
from chainredis.transport.waiting import StallWatch, WaitTimeout, wait_until

log = logging.getLogger(__name__)


class ExistingData(enum.Enum):
    """What to do with the data that a server has already. The values explain the names."""

    KEEP = "the data becomes the chain's, if this is the first member; else it must be of this chain"
    DISCARD = "the data may be deleted"
    ADOPT = "the data is a backup, with which a chain begins anew"
    ADOPT_INCOMPLETE = "the data is a backup that may lack keys which its member had flushed"

    @property
    def is_backup(self) -> bool:
        return self in (ExistingData.ADOPT, ExistingData.ADOPT_INCOMPLETE)


class Interrupted(CommandError):
    """An attempt has failed, perhaps because the chain has changed meanwhile."""


class Addition:
    """One MASTER.ADD, from the command to its end. It may be called off until the view with the newcomer is decided.

    is_off: it was called off. is_decided: the view with the newcomer is decided. over: set at the end.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.over = threading.Event()
        self.is_off = self.is_decided = False
        self._links: list[MemberLink] = []

    def watch(self, link: MemberLink) -> None:
        """The link is interrupted when the addition is called off."""
        self._links.append(link)

    def call_off(self) -> None:
        """May be called from any thread."""
        self.is_off = True
        for link in self._links:
            link.interrupt()

    def check(self) -> None:
        """CommandError if the addition was called off."""
        if self.is_off:
            raise CommandError(
                f"MASTER.REMOVE {self.endpoint.host} {self.endpoint.port} has called this off: the chain is as it was"
            )


class Additions:
    """Adds one member at a time. Repairs and removals go on meanwhile. An addition that finds the chain changed begins
    anew, with the chain as it is then.

    progress: of the addition under way, for people; empty if there is none.
    """

    def __init__(self, runtime: Runtime, dial: Dial, addresses: Addresses, settings: Settings) -> None:
        self._runtime = runtime
        self._dial = dial
        self._addresses = addresses
        self._settings = settings
        self._moved = threading.Condition()
        self._asked_for: list[Addition] = []  # it is the first one's turn
        self._brought_back: set[str] = set()  # run_ids of members
        self.progress = ""

    @contextmanager
    def turn(self, endpoint: Endpoint) -> Iterator[Addition]:
        """Wait until all earlier additions are over. CommandError if this one is called off meanwhile."""
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
        """End every addition of this endpoint that is not decided yet. Returns False if there is none."""
        with self._moved:
            found = [each for each in self._asked_for if each.endpoint == endpoint and not each.is_decided]
            for addition in found:
                addition.call_off()
            self._moved.notify_all()
        self._runtime.wake_waiters()
        for addition in found:
            addition.over.wait()
        return any(not addition.is_decided for addition in found)

    def add(self, addition: Addition, newcomer: ProbedServer, existing: ExistingData = ExistingData.KEEP) -> None:
        """Make the newcomer the first member, or the new tail. CommandError if it cannot be."""
        view = self._chain_to_join(addition, newcomer)
        if view is None:
            self._add_first(addition, newcomer, existing)
        elif existing.is_backup:
            raise CommandError(f"this chain has members, {view.names}: a backup begins a chain that has none")
        else:
            self._keep_adding(addition, newcomer, view, discard=existing is ExistingData.DISCARD)

    def bring_back(self, addition: Addition, member: ProbedServer) -> None:
        """As `add`, for a former member of this chain, or an empty server, without an operator's command. So no chain
        begins with it.
        """
        if (joined := self._chain_to_join(addition, member)) is None:
            raise CommandError("the chain has died meanwhile")
        self._keep_adding(addition, member, joined, discard=False)
        view = self._runtime.view
        inside = {each.run_id for each in view.members} if view else set()
        self._brought_back = (self._brought_back & inside) | {member.member.run_id}

    def has_brought_back(self, member: Member) -> bool:
        """Returns True if the member is in the chain, and was added by `bring_back`."""
        view = self._runtime.view
        return view is not None and view.member(member.run_id) is not None and member.run_id in self._brought_back

    def _chain_to_join(self, addition: Addition, newcomer: ProbedServer) -> View | None:
        """As `_chain_for`, at the beginning of an addition."""
        addition.watch(newcomer.link)
        if why := why_of_other_tls(
            newcomer.member, newcomer.state.tls, "this master", self._settings.tls() is not None
        ):
            raise CommandError(f"{why}: the chain is as it was")
        return self._chain_for(newcomer.member, addition)

    def _chain_for(self, newcomer: Member, addition: Addition) -> View | None:
        """The chain that the newcomer joins, whole and serving; None if there is no chain, or none alive."""
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
        """The newcomer uses this member's port: the member has ended, which is noticed soon, or it has moved."""
        self._runtime.replaced(member.run_id)
        if not self._runtime.await_departure(member, lambda: addition.is_off):
            addition.check()
            raise CommandError(f"{member} is in the chain, and has not ended, though another server has its port now")

    # ----------------------------------------------------------------------------------------- the first member

    def _add_first(self, addition: Addition, newcomer: ProbedServer, existing: ExistingData) -> None:
        """The newcomer's data becomes the chain's."""
        member, state, before = newcomer.member, newcomer.state, self._runtime.configuration
        lost = before.view if before else None
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
        kind = newcomer.traits.kind
        empty = self._without_data(before) if before else frozenset()
        random = secrets.token_bytes(32)
        assigned = self._branch(newcomer, random, existing) if is_backup else 0

        def begin(_: Configuration | None, health: Health) -> Begin:
            addition.check()
            addition.is_decided = True
            return Begin(member, random, health, empty, assigned, kind)

        self._runtime.enact(begin)
        if lost:
            log.warning("no process of history %s is alive: %s begins a new history", lost.history, member)
        self._runtime.await_service(member)

    def _branch(self, newcomer: ProbedServer, random: bytes, existing: ExistingData) -> int:
        """The newcomer's backup begins the new history, before any view names it.

        Returns the epoch in which the backup's last update was assigned. A master that is killed before the view is
        stored leaves a server whose history belongs to no chain, as before.
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

    def _without_data(self, lost: Configuration) -> frozenset[str]:
        """Run_ids of those whose address is now used by a server without the data that they had.

        CommandError if one of these servers has data of the lost chain, or is still loading its data.
        """
        empty = set()
        for member in (at_current_address(self._addresses, each) for each in lost.with_data):
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
            if found.state.history == lost.view.history and found.has_data:
                raise CommandError(_holds_lost_data(member))
            empty.add(member.run_id)
        return frozenset(empty)

    # ---------------------------------------------------------------------------------------------- a new tail

    def _keep_adding(self, addition: Addition, newcomer: ProbedServer, view: View, *, discard: bool) -> None:
        """Add the newcomer to the chain of this view, or to what the chain has become meanwhile.

        Each attempt after the first one needs a newer view, and a newcomer that answers.
        """
        while True:
            try:
                self._add_tail(addition, newcomer, view, discard=discard)
            except Interrupted as error:
                newer = self._changed_chain(addition, newcomer, view)
                if newer is None:
                    raise
                log.info("%s. MASTER.ADD goes on with the chain of epoch %d", error, newer.epoch)
                view, newcomer = newer, self._looked_at_again(addition, newcomer, error)
            else:
                return

    def _changed_chain(self, addition: Addition, newcomer: ProbedServer, view: View) -> View | None:
        """What the chain has become since this view, when it serves. None if it is as it was, lost, or another one."""
        # A tail that does not answer may be dead without anybody's knowing. A sole member is never removed for that.
        if len(view.members) > 1:
            self._runtime.await_answer(-1, lambda: addition.is_off)
        addition.check()
        now = self._runtime.view
        if now is None or now.history != view.history or now.epoch <= view.epoch:
            return None
        return self._chain_for(newcomer.member, addition)

    def _looked_at_again(self, addition: Addition, newcomer: ProbedServer, error: "Interrupted") -> ProbedServer:
        """The newcomer as it is now. Raises `error` if it does not answer, or does nothing but load."""
        watch, state = StallWatch(self._settings.stall_timeout_s), None

        def has_loaded() -> bool:
            nonlocal state
            addition.check()
            watch.check(lambda: newcomer.link.progress().loading_loaded_bytes)
            with suppress(Loading):
                state = newcomer.link.state()
            return state is not None

        try:
            wait_until(has_loaded, None, self._settings.poll_interval_s)
        except (MemberError, WaitTimeout) as trouble:
            addition.check()
            raise error from trouble
        assert state is not None
        return replace(newcomer, state=state)

    def _add_tail(self, addition: Addition, newcomer: ProbedServer, view: View, *, discard: bool) -> None:
        member, state = newcomer.member, newcomer.state
        if why := why_of_other_kind(member, newcomer.traits.kind, view.kind):
            raise CommandError(why)
        if not discard and state.history != view.history and (state.keys or (state.history and newcomer.has_data)):
            whose = f"another chain, of history {state.history}" if state.history else f"its own, {state.keys} keys"
            raise CommandError(
                f"{member} holds data of {whose}: MASTER.ADD {member.host} {member.port} DISCARD throws that away"
            )
        # This link stays open until the newcomer serves: as long as it lasts, the tail keeps its log for the newcomer.
        tail = self._proven_tail(view)
        addition.watch(tail.link)

        def note(text: str) -> None:
            addition.check()
            self.progress = f"{member}: {text}"

        def take_over(configuration: Configuration | None, _: Health) -> Add:
            addition.check()
            added = _unless_changed(configuration, view, member)
            addition.is_decided = True
            return added

        try:
            if why := why_of_other_tls(member, state.tls, f"the chain's tail {view.tail}", tail.state.tls):
                raise CommandError(why)
            if why := why_it_cannot_follow(member, newcomer.traits, view.tail, tail.traits):
                raise CommandError(why)
            if state.history == view.history:
                prove_again(newcomer, view)
            sync_learner(tail, newcomer, view, self._settings, note)
            note("taking over")
            self._runtime.enact(take_over)
            self._runtime.await_service(member)
        except (MemberError, JoinFailed) as error:
            addition.check()  # to be called off may have broken a link
            raise Interrupted(f"{error}: the chain is as it was") from error
        finally:
            tail.link.close()
            if not addition.is_decided:
                self._let_go(member, view)

    def _let_go(self, member: Member, view: View) -> None:
        """The newcomer stops copying; else it would log for ever that it cannot. The tail's pin ended with its link."""
        with suppress(MemberError):
            link = self._dial(Endpoint(member.address, member.port))
            try:
                link.prove(view.secret, member.run_id)
                link.unjoin()
            finally:
                link.close()

    def _proven_tail(self, view: View) -> ProbedServer:
        try:
            tail, state = reach(self._dial, view.tail)
        except MemberError as error:
            raise Interrupted(f"{error}: the chain is as it was") from error
        try:
            tail.prove(view.secret, view.tail.run_id)
        except MemberError as error:
            tail.close()
            raise Interrupted(f"{error}: the chain is as it was") from error
        return ProbedServer(view.tail, tail, state)


def knows_a_secret(newcomer: ProbedServer) -> bool:
    """Returns True if the newcomer has a chain's secret: then it takes views only from who knows that. CommandError."""
    try:
        newcomer.link.prove("0" * 32, newcomer.member.run_id)
    except Rejected as error:
        return "no chain's secret" not in str(error)
    except MemberError as error:
        raise CommandError(str(error)) from error
    return True


def prove_again(newcomer: ProbedServer, view: View) -> None:
    """Prove the secret to a former member. A restarted one does not know it, and asks for no proof.

    OtherProcess if another process answers.
    """
    try:
        newcomer.link.prove(view.secret, newcomer.member.run_id)
    except OtherProcess:
        raise
    except MemberError as error:
        log.info("%s", error)


def _unless_changed(configuration: Configuration | None, view: View, member: Member) -> Add:
    if configuration is None or configuration.view != view:
        raise Interrupted(f"the chain has changed while {member} was being added, and goes on without it: try again")
    return Add(member)


def _holds_lost_data(member: Member) -> str:
    return (
        f"{member} holds data of this chain, none of whose processes is alive: MASTER.FORM {member.host} {member.port} "
        "makes it the chain, with what it has"
    )
