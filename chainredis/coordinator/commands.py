# SPDX-License-Identifier: Apache-2.0
"""The MASTER commands as reconfiguration events for the runtime; and what INFO shows of the master."""

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from chainredis.coordinator.add_member import Additions, ExistingData, knows_a_secret, prove_again
from chainredis.coordinator.cold_start import ColdStart
from chainredis.coordinator.leadership import PERMANENT, LeadershipTerm
from chainredis.coordinator.probe import ProbedServer, Prober, resolve
from chainredis.coordinator.runtime import Runtime
from chainredis.coordinator.sentinel import Answer, Event, Sight, answer, events
from chainredis.coordinator.session_threads import SessionThreads
from chainredis.protocol.errors import CommandError, MemberError, StoreError
from chainredis.protocol.reconfiguration import Forget, Form, Recover, Remove
from chainredis.protocol.view import Endpoint, Member, View, parse_endpoint
from chainredis.storage.view_store import FileStore, ViewStore
from chainredis.transport.addresses import Addresses, Resolve
from chainredis.transport.lifeline import Hold, SocketLine
from chainredis.transport.member_client import Dial, MemberLink, RedisLink
from chainredis.transport.member_state import MemberState
from chainredis.transport.settings import Settings

log = logging.getLogger(__name__)

Reply = Answer
Status = dict[str, str | int]

SHOW_EVERY_S = 0.25
EXISTING_DATA = {
    (): ExistingData.KEEP,
    (b"DISCARD",): ExistingData.DISCARD,
    (b"ADOPT",): ExistingData.ADOPT,
    (b"ADOPT", b"INCOMPLETE"): ExistingData.ADOPT_INCOMPLETE,
}
MAX_SHOWN = 256  # bytes of an argument
NO_MEMBERS = "the chain has no members: MASTER.ADD host port makes a server its first one"


def embed(settings: Settings, *, name: str) -> "Coordinator":
    """The coordinator of libmaster.so. name: the chain's."""
    return Coordinator(replace(settings, name=name))


class Coordinator:
    """Carries out the MASTER commands. Its methods may be called from any thread, and block.

    store: where configurations are kept, a file in `settings.state_dir` unless given. dial: makes a connection to a
    member. hold: makes a lifeline to a member. resolve: gives the numeric address of a host; OSError or ValueError if
    it has none. leadership: this master's. remembered: the newest view that it knew in an earlier term. standing: links
    to members that it has made before its term, as in SessionThreads.
    """

    # Commands of the same lane wait for each other.
    LANES: ClassVar = {
        "MASTER.ADD": "additions",
        "MASTER.REMOVE": "changes",
        "MASTER.FORM": "changes",
        "MASTER.REFRESH_HEAD": "refreshes",
        "MASTER.REFRESH_TAIL": "refreshes",
        "MASTER.GET_CHAIN": "questions",
        "SENTINEL": "questions",
    }

    def __init__(
        self,
        settings: Settings,
        *,
        store: ViewStore | None = None,
        dial: Dial | None = None,
        hold: Hold | None = None,
        resolve: Resolve = resolve,
        leadership: LeadershipTerm = PERMANENT,
        remembered: View | None = None,
        standing: Mapping[str, MemberLink] | None = None,
    ) -> None:
        dial = dial or (lambda endpoint: RedisLink(endpoint, settings))
        self._prober = Prober(dial, resolve, settings.own_run_id)
        store = store or FileStore(settings.state_dir)
        self._settings = settings
        self._runtime = Runtime(store, settings, leadership=leadership, remembered=remembered)
        addresses = Addresses(resolve)
        self._additions = Additions(self._runtime, dial, addresses, settings)
        self._cold_start = ColdStart(self._runtime, self._additions, dial, addresses, settings)
        self._commands: dict[str, tuple[Callable[..., Reply], range]] = {
            "MASTER.ADD": (self._add, range(2, 5)),
            "MASTER.REMOVE": (self._remove, range(2, 3)),
            "MASTER.FORM": (self._form, range(2, 3)),
            "MASTER.GET_CHAIN": (self._get_chain, range(1)),
            "MASTER.REFRESH_HEAD": (self._refresh_head, range(1)),
            "MASTER.REFRESH_TAIL": (self._refresh_tail, range(1)),
            "SENTINEL": (self._sentinel, range(1, 3)),
        }
        self._last = ("none", "done")
        self._observers: list[Callable[[Status], None]] = []
        hold = hold or (lambda endpoint, secret, run_id: SocketLine(endpoint, secret, run_id, settings))
        try:
            self._runtime.start(SessionThreads(self._runtime, dial, hold, addresses, standing))
            self._cold_start.start()
            threading.Thread(target=self._show, name="chain-status", daemon=True).start()
        except BaseException:
            self._runtime.close()  # the threads that were started end
            raise

    # -------------------------------------------------------------------------------------- for the server

    def execute(self, name: str, arguments: Sequence[bytes], asker: str = "") -> Reply:
        """Carry out a command: its name, such as `MASTER.ADD`, then its arguments. Raises only CommandError.

        asker: who sent the command, for the log.
        """
        name = name.upper()
        if name not in self._commands:
            raise CommandError(f"unknown command '{name}'")
        handler, arity = self._commands[name]
        if len(arguments) not in arity:
            raise CommandError(f"wrong number of arguments for '{name.lower()}' command")
        try:
            if self.LANES[name] in ("refreshes", "questions"):
                return handler(*arguments)
            return self._execute_change(name, handler, arguments, asker)
        except CommandError:
            raise
        except StoreError as error:
            raise CommandError(str(error)) from error
        except Exception as error:
            log.exception("%s failed in a way that nobody has thought of", name)
            raise CommandError(f"internal error of the master ({error!r}): see its log") from error

    def _execute_change(
        self, name: str, handler: Callable[..., Reply], arguments: Sequence[bytes], asker: str
    ) -> Reply:
        what = " ".join([name, *map(_on_a_line, arguments)])
        log.info("%s: asked for by %s", what, asker or "somebody")
        try:
            self._runtime.ensure_read()
            self._note(name, "under way")
            reply = handler(*arguments)
        except Exception as error:
            self._note(name, f"failed: {error}")
            log.warning("%s: %s", what, error)
            raise
        self._note(name, "done")
        log.info("%s: %s", what, reply)
        return reply

    def saw_heartbeats(self, run_ids: frozenset[str]) -> None:
        """The run_ids of all members that have a heartbeat in etcd now."""
        self._runtime.saw_heartbeats(run_ids)

    @property
    def known_view(self) -> View | None:
        """The newest view that is known, stored or not."""
        return self._runtime.known_view

    def doubt_store(self) -> None:
        """The store may have been changed by somebody else: it is read again."""
        self._runtime.doubt()

    def close(self) -> None:
        """End the work in the background. A command under way goes on to its end."""
        self._runtime.close()

    # ---------------------------------------------------------------------------------------------- reads

    def _get_chain(self) -> Reply:
        view = self._runtime.view
        return [str(member) for member in view.members] if view else []

    def _sentinel(self, *words: bytes) -> Reply:
        return answer(self.sight(), words)

    def _refresh_head(self) -> str:
        return self._refresh(0)

    def _refresh_tail(self) -> str:
        return self._refresh(-1)

    def _refresh(self, place: int) -> str:
        if self._runtime.view is None:
            raise CommandError(NO_MEMBERS)
        member = self._runtime.await_answer(place)
        if member is None:
            raise CommandError(self._runtime.why_unsettled)
        return str(member)

    # ----------------------------------------------------------------------- MASTER.ADD, MASTER.REMOVE, MASTER.FORM

    def _add(self, host: bytes, port: bytes, *words: bytes) -> str:
        existing = EXISTING_DATA.get(tuple(word.upper() for word in words))
        if existing is None:
            raise CommandError("syntax error: MASTER.ADD host port [DISCARD | ADOPT [INCOMPLETE]]")
        with self._additions.turn(_endpoint(host, port)) as addition:
            newcomer = self._prober.probe(addition.endpoint)
            try:
                if not self._additions.has_brought_back(newcomer.member):
                    self._additions.add(addition, newcomer, existing)
            finally:
                newcomer.link.close()
        return "OK"

    def _remove(self, host: bytes, port: bytes) -> str:
        endpoint = _endpoint(host, port)
        was_called_off = self._additions.call_off(endpoint)
        configuration = self._runtime.configuration
        try:
            if configuration is None:
                raise CommandError(NO_MEMBERS)
            member = self._find(endpoint, configuration.view.members + configuration.awaited + configuration.fallen)
        except CommandError:
            if was_called_off:
                return "OK"
            raise
        is_out = configuration.view.member(member.run_id) is None
        if is_out or (self._runtime.is_lost and member.run_id in configuration.durable):
            self._runtime.enact(lambda *_: Forget(member))
        else:
            self._runtime.enact(lambda _, health: Remove(member, health))
            self._runtime.await_service()
        return "OK"

    def _find(self, endpoint: Endpoint, members: Sequence[Member]) -> Member:
        """The member that the operator means: by the host name that it was added with, else by its address."""
        for member in members:
            if member.endpoint == endpoint:
                return member
        address = self._prober.address(endpoint)
        for member in members:
            if (member.address, member.port) == (address, endpoint.port):
                return member
        raise CommandError(f"{endpoint} is not in the chain, which is {', '.join(map(str, members))}")

    def _form(self, host: bytes, port: bytes) -> str:
        view = self._runtime.known_view
        found = self._prober.probe(_endpoint(host, port))
        survivor = found.member
        try:
            if found.state.lacks_checkpoint:
                raise CommandError(
                    f"{survivor} cannot read its checkpoint, and has some keys nowhere else: its log says why. "
                    'Restart it with that checkpoint, or see docs/operations.md, "Failures and restarts"'
                )
            if view is None:
                self._recover(found)
            else:
                self._form_known(found, view)
            self._runtime.await_service(survivor)
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        finally:
            found.link.close()
        return "OK"

    def _form_known(self, found: ProbedServer, view: View) -> None:
        survivor, state = found.member, found.state
        if state.history != view.history:
            raise CommandError(
                f"{survivor} holds no data of this chain, which is of history {view.history}. If what this master has "
                "stored is older than that server's data, begin with an empty store, and MASTER.FORM then"
            )
        if state.role == "learner":
            raise CommandError(f"{survivor} holds only part of this chain's data: it was still being added")
        prove_again(found, view)
        self._runtime.enact(lambda _, health: Form(survivor, _newest_epoch(state), health))

    def _recover(self, found: ProbedServer) -> None:
        """What was stored here is lost. Only a restarted process, which knows no secret, can become the chain."""
        survivor, state = found.member, found.state
        if not state.history or not found.has_data:
            raise CommandError(
                f"this master knows of no chain, and {survivor} holds no data of one: "
                f"MASTER.ADD {survivor.host} {survivor.port} makes it the first member"
            )
        if state.role == "learner":
            raise CommandError(f"{survivor} holds only part of a chain's data: it was still being added")
        if knows_a_secret(found):
            raise CommandError(
                f"{survivor} is in a chain whose secret this master does not know, and takes no view from it: put back "
                "what the master had stored; or restart that server with its data, which ends that chain, and repeat "
                "this: what others have and it lacks is lost"
            )
        recover = Recover(survivor, state.history, _newest_epoch(state), secrets.token_bytes(16), found.traits.kind)
        configuration = self._runtime.enact(lambda *_: recover)
        log.warning("the stored view was lost: the chain of epoch %d is %s alone", configuration.view.epoch, survivor)

    # ------------------------------------------------------------------------------------------- as a Sentinel

    def sight(self) -> Sight:
        """What this master knows, for clients of a Sentinel. A chain that was never read is none."""
        settings = self._settings
        try:
            configuration, trouble = self._runtime.configuration, self._runtime.why_unsettled
        except StoreError as error:
            configuration, trouble = None, str(error)
        return Sight(
            settings.name,
            settings.own_run_id,
            configuration.view.epoch if configuration else 0,
            configuration.view.members if configuration else (),
            configuration.fallen if configuration else (),
            {member.run_id: status for member, status in self._runtime.member_statuses()},
            settings.polling().timeout_ms,
            trouble=trouble,
        )

    def on_event(self, publish: Callable[[Event], None]) -> None:
        """Call `publish` from now on with what a Sentinel publishes, from one thread."""
        threading.Thread(target=self._follow_events, args=(publish,), name="chain-events", daemon=True).start()

    def _follow_events(self, publish: Callable[[Event], None]) -> None:
        """A new head is announced when it serves: clients go there at once."""
        before = self.sight()
        while not self._runtime.is_closed:
            self._runtime.await_epoch_after(before.epoch, SHOW_EVERY_S)
            after = self.sight()
            if before.members and after.members:
                if before.members[0].run_id != after.members[0].run_id:
                    self._runtime.await_answer(0)
                for event in events(before, after):
                    publish(event)
            before = after if after.members else before

    # ----------------------------------------------------------------------------------------------- for INFO

    def on_status(self, observer: Callable[[Status], None]) -> None:
        """Call `observer` with `status()` now and whenever it may have changed, from any thread."""
        self._observers.append(observer)
        observer(self.status())

    def status(self) -> Status:
        """For INFO: the names and values of docs/commands.md, "INFO"."""
        try:
            configuration, trouble = self._runtime.configuration, self._runtime.why_unsettled
        except StoreError as error:
            configuration, trouble = None, str(error)
        members = configuration.view.members if configuration else ()
        return {
            "epoch": configuration.view.epoch if configuration else 0,
            "kind": configuration.view.kind if configuration else "",
            "members": len(members),
            "chain": names(members),
            "pending": names(members[-1:]) if configuration and configuration.pending else "",
            "leaving": names(configuration.leaving) if configuration else "",
            "awaited": names(configuration.awaited) if configuration else "",
            "fallen": names(configuration.fallen) if configuration else "",
            "state": trouble or ("serving" if configuration else "no chain"),
            "addition": self._additions.progress,
            "waits_for": self._cold_start.waits_for,
            "repairs": self._runtime.repairs,
            "last_change": self._last[0],
            "last_change_state": self._last[1],
            **{
                f"member_{place}": f"{member},state={member_status.word},silent_ms={member_status.silent_ms},"
                f"checkpointed={member_status.checkpointed},lifeline={member_status.lifeline}"
                for place, (member, member_status) in enumerate(self._runtime.member_statuses())
            },
        }

    def _note(self, name: str, state: str) -> None:
        self._last = (name, state)
        self._tell_observers()

    def _show(self) -> None:
        """Observers see changes that no command has made, too."""
        while not self._runtime.is_closed:
            self._runtime.pause(SHOW_EVERY_S)
            self._tell_observers()

    def _tell_observers(self) -> None:
        for observer in self._observers:
            try:
                observer(self.status())
            except Exception:
                log.exception("an observer of the status failed")


def _newest_epoch(state: MemberState) -> int:
    """The newest epoch that the server or its data knows."""
    return max(state.epoch, state.record_epoch, state.assigned)


def _on_a_line(argument: bytes) -> str:
    """An argument, which may be any bytes, as a part of one line of the log."""
    text = argument[:MAX_SHOWN].decode(errors="backslashreplace")
    return text if text.isprintable() and text else repr(text)


def names(members: Sequence[Member]) -> str:
    return ",".join(map(str, members))


def _endpoint(host: bytes, port: bytes) -> Endpoint:
    try:
        return parse_endpoint(host, port)
    except ValueError as error:
        raise CommandError(str(error)) from error
