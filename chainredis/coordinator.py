"""The master's mind: decides on views, stores them, tells the members (rule 5: in this order).

One change at a time, under a lock. What is read without it, `_change` above all, are immutable values that are
replaced whole, so that reads never wait for a change.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from chainredis.errors import CommandError, MemberError, NotAMember, OtherProcess, OutcomeUnknown, StoreError
from chainredis.joining import JoinFailed, bring_in
from chainredis.looking import connect, health_of, look_at, resolve
from chainredis.member_client import Dial, MemberLink, MemberState, RedisLink
from chainredis.settings import Settings
from chainredis.stores import FileStore, ViewStore
from chainredis.telling import Untold, await_service, tell_leaving, tell_members
from chainredis.transitions import Add, Begin, Change, Form, Health, Remove, decide
from chainredis.view import Endpoint, Member, View, parse_endpoint

log = logging.getLogger(__name__)

Reply = str | list[str]
Status = dict[str, str | int]

NO_MEMBERS = "the chain has no members: MASTER.ADD host port makes a server its first one"


class Coordinator:
    """Carries out the MASTER commands. Its methods may be called from any thread, and block.

    store: where views are kept, a file in `settings.state_dir` unless given. dial: makes a connection to a member.
    resolve: turns a host into a number; OSError or ValueError when it cannot.
    """

    READS = frozenset({"MASTER.GET_CHAIN", "MASTER.REFRESH_HEAD", "MASTER.REFRESH_TAIL"})

    def __init__(
        self,
        settings: Settings,
        *,
        store: ViewStore | None = None,
        dial: Dial | None = None,
        resolve: Callable[[str], str] = resolve,
    ) -> None:
        self._settings = settings
        self._store: ViewStore = store or FileStore(settings.state_dir)
        self._dial: Dial = dial or (lambda endpoint: RedisLink(endpoint, settings))
        self._resolve = resolve
        self._commands: dict[str, tuple[Callable[..., Reply], range]] = {
            "MASTER.ADD": (self._add, range(2, 4)),
            "MASTER.REMOVE": (self._remove, range(2, 3)),
            "MASTER.FORM": (self._form, range(2, 3)),
            "MASTER.GET_CHAIN": (self._get_chain, range(1)),
            "MASTER.REFRESH_HEAD": (self._refresh_head, range(1)),
            "MASTER.REFRESH_TAIL": (self._refresh_tail, range(1)),
        }
        self._changing = threading.Lock()
        # The newest change known to be stored; why none is known; whether the store may hold another one.
        self._change: Change | None = None
        self._unread: StoreError | None = None
        self._in_doubt = True
        # Not everybody has been told of it, or serves in it.
        self._unfinished = False
        self._last = ("none", "done")
        self._observers: list[Callable[[Status], None]] = []
        self._closed = threading.Event()
        self._start()

    # -------------------------------------------------------------------------------------- for the server

    def execute(self, name: str, arguments: Sequence[bytes]) -> Reply:
        """Carry out a command: `name` as in `MASTER.ADD`, then its arguments. Raises nothing but CommandError."""
        name = name.upper()
        if name not in self._commands:
            raise CommandError(f"unknown command '{name}'")
        handler, arity = self._commands[name]
        if len(arguments) not in arity:
            raise CommandError(f"wrong number of arguments for '{name.lower()}' command")
        try:
            if name in self.READS:
                return handler(*arguments)
            with self._changing:
                return self._execute_change(name, handler, arguments)
        except CommandError:
            raise
        except StoreError as error:
            raise CommandError(str(error)) from error
        except Exception as error:
            log.exception("%s failed in a way that nobody has thought of", name)
            raise CommandError(f"internal error of the master ({error!r}): see its log") from error

    def on_status(self, observer: Callable[[Status], None]) -> None:
        """Call `observer` with `status()` now and whenever it changes, from the thread that changes it."""
        self._observers.append(observer)
        observer(self.status())

    def status(self) -> Status:
        """For INFO: epoch (0: no view), members, chain (host:port, head first), last_change, last_change_state."""
        view = self._change.view if self._change else None
        return {
            "epoch": view.epoch if view else 0,
            "members": len(view.members) if view else 0,
            "chain": ",".join(map(str, view.members)) if view else "",
            "last_change": self._last[0],
            "last_change_state": str(self._unread) if self._unread else self._last[1],
        }

    def close(self) -> None:
        """End the work in the background. A command under way goes on."""
        self._closed.set()

    # ---------------------------------------------------------------------------------------------- reads

    def _get_chain(self) -> list[str]:
        view = self._view()
        return [str(member) for member in view.members] if view else []

    def _refresh_head(self) -> str:
        return self._refresh(0)

    def _refresh_tail(self) -> str:
        return self._refresh(-1)

    def _refresh(self, place: int) -> str:
        view = self._view()
        if view is None:
            raise CommandError(NO_MEMBERS)
        member = view.members[place]
        try:
            look_at(self._dial, member)
        except MemberError as error:
            raise CommandError(f"{error}. If it is lost: MASTER.REMOVE {member.host} {member.port}") from error
        return str(member)

    def _view(self) -> View | None:
        if self._unread:
            raise self._unread
        return self._change.view if self._change else None

    # ------------------------------------------------------------------------------------------ MASTER.ADD

    def _add(self, host: bytes, port: bytes, option: bytes | None = None) -> str:
        if option is not None and option.upper() != b"DISCARD":
            raise CommandError("syntax error: MASTER.ADD host port [DISCARD]")
        newcomer, link, state = self._meet(host, port)
        try:
            if self._has_living_chain(newcomer):
                self._add_tail(newcomer, link, state, discard=option is not None)
            else:
                self._add_first(newcomer, link, state)
        finally:
            link.close()
        return "OK"

    def _has_living_chain(self, newcomer: Member) -> bool:
        """False: there is none, or all its processes are dead. CommandError while only some of them live."""
        view = self._view()
        if view is None:
            return False
        known = view.member(newcomer.run_id)
        if known:
            alias = f", as {known}" if known.endpoint != newcomer.endpoint else ""
            raise CommandError(f"{newcomer} is already in the chain{alias}")
        health = self._health()
        if health.dead.issuperset(member.run_id for member in view.members):
            return False
        for member in view.members:
            removal = f"MASTER.REMOVE {member.host} {member.port}, then MASTER.ADD again"
            if member.run_id in health.alive:
                continue
            if (member.address, member.port) == (newcomer.address, newcomer.port):
                raise CommandError(f"{newcomer} was restarted, and the chain still has its former process: {removal}")
            raise CommandError(f"{member} is in the chain and does not answer. If it is lost: {removal}")
        return True

    def _add_first(self, newcomer: Member, link: MemberLink, state: MemberState) -> None:
        """What data the newcomer has becomes the chain's."""
        lost = self._change.view if self._change else None
        if lost and state.history == lost.history:
            raise CommandError(_holds_lost_data(newcomer))
        if state.history:
            raise CommandError(
                f"{newcomer} holds data of another chain, of history {state.history}, and cannot begin this one "
                "with it: restart that server with an empty folder"
            )
        if state.unfit:
            raise CommandError(f"{newcomer} cannot begin a chain: {state.unfit}")
        if lost:
            self._refuse_while_data_is_left(lost)
            log.warning("no process of history %s is alive: %s begins a new history", lost.history, newcomer)
        event = Begin(newcomer, secrets.token_bytes(32), self._health())
        self._enact(decide(self._change, event), {newcomer.run_id: link})

    def _refuse_while_data_is_left(self, lost: View) -> None:
        """A member that was restarted may have loaded what it had."""
        for member in lost.members:
            try:
                link = self._dial(Endpoint(member.address, member.port))
            except MemberError:
                continue
            try:
                history = link.state().history
            except MemberError:
                history = ""
            finally:
                link.close()
            if history == lost.history:
                raise CommandError(_holds_lost_data(member))

    def _add_tail(self, newcomer: Member, link: MemberLink, state: MemberState, *, discard: bool) -> None:
        view = self._view()
        assert view is not None
        if not discard and state.history != view.history and (state.history or state.keys):
            whose = f"another chain, of history {state.history}" if state.history else f"its own, {state.keys} keys"
            raise CommandError(
                f"{newcomer} holds data of {whose}: MASTER.ADD {newcomer.host} {newcomer.port} DISCARD throws that away"
            )
        change = decide(self._change, Add(newcomer))
        try:
            tail = connect(self._dial, view.tail, view)
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        # Open until the newcomer serves: the tail keeps its log for it as long as this connection lasts.
        try:
            if state.history == view.history:
                self._prove_again(link, view, newcomer)
            bring_in(tail, link, newcomer, view, self._settings)
            self._enact(change, {newcomer.run_id: link, view.tail.run_id: tail})
        except (MemberError, JoinFailed) as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        finally:
            tail.close()

    def _prove_again(self, link: MemberLink, view: View, newcomer: Member) -> None:
        """A former member knows the secret, unless it was restarted, and then asks for no proof."""
        try:
            link.prove(view.secret, newcomer.run_id)
        except OtherProcess:
            raise
        except MemberError as error:
            log.info("%s", error)

    # ------------------------------------------------------------------------- MASTER.REMOVE, MASTER.FORM

    def _remove(self, host: bytes, port: bytes) -> str:
        member = self._find(_endpoint(host, port))
        self._enact(decide(self._change, Remove(member, self._health())), {})
        return "OK"

    def _find(self, endpoint: Endpoint) -> Member:
        """The member that the operator means: by the name that it was added with, else by its number."""
        view = self._view()
        if view is None:
            raise CommandError(NO_MEMBERS)
        for member in view.members:
            if member.endpoint == endpoint:
                return member
        address = self._address(endpoint)
        for member in view.members:
            if (member.address, member.port) == (address, endpoint.port):
                return member
        raise CommandError(f"{endpoint} is not in the chain, which is {', '.join(map(str, view.members))}")

    def _form(self, host: bytes, port: bytes) -> str:
        view = self._view()
        if view is None:
            raise CommandError("this master knows of no chain: MASTER.ADD host port makes a server its first member")
        survivor, link, state = self._meet(host, port)
        try:
            if state.history != view.history:
                raise CommandError(f"{survivor} holds no data of this chain, which is of history {view.history}")
            if state.role == "learner":
                raise CommandError(f"{survivor} holds only part of this chain's data: it was still being added")
            event = Form(survivor, state.epoch, self._health())
            self._prove_again(link, view, survivor)
            self._enact(decide(self._change, event), {survivor.run_id: link})
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        finally:
            link.close()
        return "OK"

    # ------------------------------------------------------------------------------------- whom it is about

    def _meet(self, host: bytes, port: bytes) -> tuple[Member, MemberLink, MemberState]:
        """The server that the operator names, whoever it is: a connection, and its state."""
        endpoint = _endpoint(host, port)
        address = self._address(endpoint)
        try:
            link = self._dial(Endpoint(address, endpoint.port))
        except MemberError as error:
            raise CommandError(f"{error}: the chain is as it was") from error
        try:
            state = link.state()
            if state.run_id == self._settings.own_run_id:
                raise CommandError(f"{endpoint} is this master itself, which cannot be a member")
            return Member(endpoint.host, address, endpoint.port, state.run_id), link, state
        except (MemberError, ValueError, CommandError) as error:
            link.close()
            if isinstance(error, NotAMember) and error.run_id == self._settings.own_run_id:
                raise CommandError(f"{endpoint} is this master itself, which cannot be a member") from error
            raise error if isinstance(error, CommandError) else CommandError(str(error)) from error

    def _address(self, endpoint: Endpoint) -> str:
        try:
            return self._resolve(endpoint.host)
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot resolve the host {endpoint.host!r}: {error}") from error

    def _health(self) -> Health:
        change = self._change
        return health_of(self._dial, change.view.members + change.leaving) if change else Health()

    # -------------------------------------------------------------------------------- how a change is made

    def _execute_change(self, name: str, handler: Callable[..., Reply], arguments: Sequence[bytes]) -> Reply:
        self._load()
        if self._unfinished:
            self._try_to_finish()
        self._note(name, "under way")
        try:
            reply = handler(*arguments)
        except Exception as error:
            self._note(name, f"failed: {error}")
            raise
        self._note(name, "done")
        return reply

    def _enact(self, change: Change, links: Mapping[str, MemberLink]) -> None:
        """Rule 5: persist, then tell; then see that the chain serves. OutcomeUnknown says how far it came."""
        try:
            self._keep(change)
            self._unfinished = True
            log.info("the chain of epoch %d: %s", change.view.epoch, ", ".join(map(str, change.view.members)))
            self._finish(links, self._settings.settle_timeout_s)
        except StoreError as error:
            raise OutcomeUnknown(f"{error}: the change may come into force when that is repaired") from error
        except Untold as error:
            self._finish_later()
            raise OutcomeUnknown(
                f"the change is decided, and stored as epoch {change.view.epoch}, but {error}. "
                "The master goes on trying; a member that is lost is taken out with MASTER.REMOVE"
            ) from error

    def _finish(self, links: Mapping[str, MemberLink], timeout_s: float) -> None:
        """Bring the stored change to its end. Raises Untold."""
        change = self._change
        assert change is not None
        if change.leaving:
            tell_leaving(change, self._dial, timeout_s)
            change = replace(change, leaving=())
            self._keep(change)
        tell_members(change, self._dial, links, timeout_s)
        await_service(change.view, self._dial, timeout_s)
        if change.pending:
            self._keep(replace(change, pending=False))
        self._unfinished = False

    def _try_to_finish(self) -> None:
        try:
            self._withdraw_missed_addition()
            self._finish({}, 0)
        except (Untold, CommandError) as error:
            log.info("the newest view is not complete: %s", error)

    def _withdraw_missed_addition(self) -> None:
        """A tail that was to feed a new one, and did not hear of it, has dropped by now what the new one lacks."""
        change = self._change
        if change is None or not change.pending:
            return
        newcomer, feeder = change.view.members[-1], change.view.members[-2]
        try:
            missed = look_at(self._dial, feeder).epoch < change.view.epoch
        except MemberError:
            return
        if missed:
            log.warning("the addition of %s was interrupted, and is withdrawn", newcomer)
            self._keep(decide(change, Remove(newcomer, self._health())))

    def _finish_later(self) -> None:
        threading.Thread(target=self._finish_in_background, name="chain-finish", daemon=True).start()

    def _finish_in_background(self) -> None:
        """A master that was killed between storing and telling goes on here, too."""
        while not self._closed.is_set():
            with self._changing:
                if not self._unfinished:
                    return
                try:
                    self._try_to_finish()
                except StoreError as error:
                    log.error("%s", error)
            self._closed.wait(self._settings.retry_interval_s)

    # ------------------------------------------------------------------------------------------- the store

    def _start(self) -> None:
        try:
            self._load()
        except StoreError as error:
            log.error("%s: no change will be made before this is repaired", error)
        if self._unfinished:
            self._finish_later()

    def _load(self) -> None:
        """Know for certain what is stored. Raises StoreError."""
        if not self._in_doubt:
            return
        try:
            change = self._store.load()
            if change:
                # What was just read may be in the system's cache alone, when the last attempt to save it failed.
                self._store.save(change)
        except StoreError as error:
            if self._change is None:
                self._unread = error
            raise
        self._unread = None
        self._in_doubt = False
        self._unfinished = change is not None
        self._change = change

    def _keep(self, change: Change) -> None:
        """Raises StoreError; then it is open which change is stored, and nobody may be told of either."""
        self._in_doubt = True
        self._store.save(change)
        self._in_doubt = False
        self._change = change

    def _note(self, name: str, state: str) -> None:
        self._last = (name, state)
        for observer in self._observers:
            try:
                observer(self.status())
            except Exception:
                log.exception("an observer of the status failed")


def _endpoint(host: bytes, port: bytes) -> Endpoint:
    try:
        return parse_endpoint(host, port)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _holds_lost_data(member: Member) -> str:
    return (
        f"{member} holds data of this chain, none of whose processes is alive: MASTER.FORM {member.host} {member.port} "
        "makes it the chain, with what it has"
    )
