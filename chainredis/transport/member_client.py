# SPDX-License-Identifier: Apache-2.0
"""One connection to one member: the master's side of docs/protocol.md, and what its failures mean."""

import contextlib
import hashlib
import hmac
import math
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import redis
from redis._parsers.socket import SERVER_CLOSED_CONNECTION_ERROR
from redis.connection import Connection

from chainredis.protocol.errors import (
    Busy,
    CannotFeed,
    Closed,
    Loading,
    MemberError,
    NotAMember,
    OtherProcess,
    Refused,
    Rejected,
    Silent,
    Stale,
    TooFar,
)
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import SecondPort
from chainredis.protocol.view import Endpoint, Kind, Member, View
from chainredis.transport.bounded_answers import BoundedParser
from chainredis.transport.member_state import MemberState, Progress, state_in
from chainredis.transport.settings import Credentials, Settings
from chainredis.transport.tls import Tls, TlsConnection, days_left, why


class MemberLink(Protocol):
    """A connection to one server. Every method may raise MemberError; after Silent the link is of no more use.

    The methods are the commands of docs/protocol.md.
    """

    def state(self, timeout_s: float | None = None) -> MemberState:
        """The server's state. NotAMember if it has no libmember.so, Loading while it loads its data.

        timeout_s: how long to wait for the answer; None: as long as for any.
        """

    def ask(self) -> None:
        """Ask for the state, and do not wait: the next call has to be `state`, which takes the answer."""

    def prove(self, secret: str, run_id: str) -> None:
        """Both sides prove the chain's secret, the member first. OtherProcess if the member is not `run_id`."""

    def poll(self, lease: Lease, second_ports: Mapping[str, SecondPort]) -> MemberState:
        """The member's state; the question grants the lease, and tells second ports by run_id.

        second_ports: empty for a member of an earlier version.
        """

    def watch(self) -> str:
        """The member's broken links, as soon as it suspects a neighbour: that may take years."""

    def adopt(self, view: View) -> None:
        """Stale if the member is in a newer view, CannotFeed if it lacks updates for the new tail."""

    def announce(self, view: View) -> None:
        """May be called from any thread, and does not wait: the next `adopt` of this view takes the answer.

        Nothing happens while a call is under way: the thread that calls will have to `adopt`.
        """

    def pin(self, applied: int | None = None, assigned: int = -1) -> None:
        """Have the tail keep its log from this position on, or from now on. TooFar if it has less of its log."""

    def join(self, view: View) -> None:
        """The server discards its data, and begins to copy the view's tail."""

    def rejoin(self, view: View) -> None:
        """The server keeps its data, and asks for the log that it lacks. TooFar if its data is not of this chain."""

    def branch(self, history: str, *, incomplete: bool) -> None:
        """The data of a restored server belongs to this new history from now on."""

    def feed(self, learner: Member) -> None:
        """The tail forwards to the learner from now on."""

    def unpin(self) -> None:
        """The tail's log is not kept for a learner any more."""

    def unjoin(self) -> None:
        """The server is not added: a copy that is not complete ends."""

    def feeds_replica(self) -> bool:
        """Returns True if Redis's replication from here to any server has begun."""

    def progress(self) -> Progress:
        """The progress of a full synchronisation, at either end of it."""

    def interrupt(self) -> None:
        """May be called from any thread: the call under way, and every later one, fails."""

    def close(self) -> None: ...


Dial = Callable[[Endpoint], MemberLink]


Error = TypeVar("Error", bound=BaseException)

# redis-py's parser raises the last two for bytes that are not of Redis's protocol.
FAILURES = (redis.RedisError, OSError, ValueError, RecursionError)
# On some connections the member may be silent for years: TCP notices a host that is gone.
KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
_ENDS = (ConnectionResetError, BrokenPipeError)


class RedisLink:
    """A MemberLink over redis-py. A proof and a pin belong to one connection: it is never made anew by itself."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._tls = settings.tls()
        self._connection = _connection(endpoint, settings, self._tls)
        self._open = True
        self._in_use = threading.RLock()  # by a call, until its reply has come
        self._announced: View | None = None  # its answer was not taken yet
        self._asked = False  # for the state, whose answer was not taken yet
        self._held = ""  # why replies on this connection are held until they are committed
        try:
            self._connection.connect()
        except FAILURES as error:
            self.close()
            raise self._explain(error) from error
        try:
            self._begin(settings.credentials())
        except Closed as error:
            self.close()
            raise error if self._tls else Closed(f"{error} at once: perhaps that is its TLS port") from error
        except MemberError:
            self.close()
            raise

    def _begin(self, credentials: Credentials) -> None:
        """Log in, and leave the gate and the limits for clients, in one write.

        The member's gate must see MEMBER.UNHELD before it holds any reply (docs/protocol.md).
        """
        password = credentials.password
        login = ["AUTH", credentials.user, password] if credentials.user else ["AUTH", password] if password else []
        commands = [login] if login else []
        self._send(*commands, ["MEMBER.UNHELD"], ["CLIENT", "NO-EVICT", "ON"])
        if login:
            self._reply()
        try:
            self._reply()
        except (Rejected, Loading) as error:
            # A member of an earlier version does not know the command. It has no gate.
            self._held = "" if "unknown command" in str(error) else str(error)
        # `maxmemory-clients` is for clients. A user without this permission learns of that by the next command.
        with contextlib.suppress(Rejected, Loading):
            self._reply()

    def close(self) -> None:
        with self._in_use:
            self._open = False
            self._connection.disconnect()

    def interrupt(self) -> None:
        self._open = False
        connected = self._connection._get_socket()  # noqa: SLF001 - `disconnect` belongs to the thread that reads
        if connected:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # TLS's own would let the reader go on without TLS

    def state(self, timeout_s: float | None = None) -> MemberState:
        was_asked, self._asked = self._asked, False
        try:
            reply = self._reply(timeout_s) if was_asked else self._call("CHAIN.STATE", timeout_s=timeout_s)
        except Rejected as error:
            if "unknown command" in str(error):
                raise self._not_a_member() from error
            raise
        state = self._parse_state(reply)
        if state.kind == Kind.ALL and self._held:
            raise Rejected(f"{self._held}. Give the master's user there the right to MEMBER.UNHELD")
        return state

    def ask(self) -> None:
        with contextlib.suppress(MemberError):  # `state` finds the same
            self._send(["CHAIN.STATE"])
            self._asked = True

    def poll(self, lease: Lease, second_ports: Mapping[str, SecondPort]) -> MemberState:
        terms = (lease.epoch, lease.stamp_ms, lease.length_ms)
        ports = (word for run_id, port in second_ports.items() for word in (run_id, *port))
        return self._parse_state(self._call("CHAIN.POLL", *map(str, (*terms, *ports))))

    def watch(self) -> str:
        reply = self._call("CHAIN.WATCH", timeout_s=math.inf)
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], bytes):
            raise self._nonsense("CHAIN.WATCH")
        return reply[1].decode("ascii", "replace")

    def prove(self, secret: str, run_id: str) -> None:
        key = bytes.fromhex(secret)
        nonce = secrets.token_hex(16)
        reply = self._call("CHAIN.CHALLENGE", nonce)
        if not isinstance(reply, list) or len(reply) != 3 or not all(isinstance(item, bytes) for item in reply):
            raise self._nonsense("CHAIN.CHALLENGE")
        nonce2, answerer, proof = (item.decode("ascii", "replace") for item in reply)
        expected = mac(key, "answer", nonce, nonce2, answerer)
        # A process that cannot prove the secret gets nothing, not even a proof that it could use elsewhere.
        if answerer != run_id:
            raise OtherProcess(f"{self._endpoint}: another process answers there now, not the member {run_id}")
        if not hmac.compare_digest(expected.encode(), proof.encode()):
            raise Rejected(f"{self._endpoint}: does not know this chain's secret, but perhaps another's")
        own = self._settings.own_run_id
        self._call("CHAIN.PROVE", mac(key, "prove", nonce2, nonce, own), own)

    def announce(self, view: View) -> None:
        if not self._in_use.acquire(blocking=False):
            return
        try:
            if self._announced is None:
                self._send(["CHAIN.ADOPT", *view.wire()])
                self._announced = view
        except MemberError:
            pass  # the next call finds the same
        finally:
            self._in_use.release()

    def adopt(self, view: View) -> None:
        with self._in_use:
            if self._announced == view:
                self._announced = None
                reply = self._reply()
            else:
                reply = self._call("CHAIN.ADOPT", *view.wire())
        kind = reply[0] if isinstance(reply, list) and reply else None
        if kind == b"STALE":
            raise self._stale(view, reply[1:])
        if kind == b"TOOFAR":
            raise CannotFeed(f"{self._endpoint}: does not have all that the new tail lacks")
        if kind != b"ADOPTED":
            raise self._nonsense("CHAIN.ADOPT")

    def _stale(self, told: View, arguments: list[bytes]) -> MemberError:
        try:
            view = View.from_wire(arguments)
        except ValueError:
            return self._nonsense("CHAIN.ADOPT")
        return Stale(f"{self._endpoint}: is in a newer view than that of epoch {told.epoch}", view)

    def pin(self, applied: int | None = None, assigned: int = -1) -> None:
        if applied is None:
            self._call("CHAIN.PIN")
            return
        try:
            pinned = self._call("CHAIN.PIN", str(applied), str(assigned))
        except Rejected as error:
            raise TooFar(str(error)) from error
        if not isinstance(pinned, int):
            raise TooFar(f"{self._endpoint}: its log does not go back to sn {applied + 1}")

    def join(self, view: View) -> None:
        self._call("CHAIN.JOIN", *view.wire(), timeout_s=self._settings.long_answer_timeout_s)

    def rejoin(self, view: View) -> None:
        try:
            self._call("CHAIN.REJOIN", *view.wire())
        except Rejected as error:
            raise TooFar(str(error)) from error

    def branch(self, history: str, *, incomplete: bool) -> None:
        self._call("CHAIN.BRANCH", history, *(["INCOMPLETE"] if incomplete else []))

    def feed(self, learner: Member) -> None:
        self._call("CHAIN.FEED", *learner.wire())

    def unpin(self) -> None:
        self._call("CHAIN.UNPIN")

    def unjoin(self) -> None:
        self._call("CHAIN.UNJOIN")

    def feeds_replica(self) -> bool:
        try:
            replicas = self._call("CLIENT", "LIST", "TYPE", "replica")  # INFO and ROLE tell of the chain instead
        except Rejected:
            return True  # without the permission to look, nothing is concluded
        return bool(replicas)

    def progress(self) -> Progress:
        found = self.info("replication") | self.info("persistence") | self.info("member")
        values = (found.get(name, "") for name in Progress._fields)
        return Progress(*(int(value) if value.isdigit() else -1 for value in values))

    def run_id(self) -> str:
        """The run_id of any Redis server; empty if it does not tell."""
        return self.info("server").get("run_id", "")

    def time(self) -> float:
        """The server's clock, in seconds since 1970."""
        seconds, microseconds = self._call("TIME")
        return int(seconds) + int(microseconds) / 1e6

    def certificate_days(self) -> float | None:
        """For how many days the server's certificate is still valid. None without TLS."""
        return days_left(self._connection._get_socket()) if self._tls else None  # noqa: SLF001 - it has no other way

    def view(self) -> tuple[int, list[str]]:
        """The epoch and the members of the view, as host:port. NotAMember if the server has no libmember.so."""
        try:
            reply = self._call("MEMBER.VIEW")
        except Rejected as error:
            if "unknown command" in str(error):
                raise self._not_a_member() from error
            raise
        epoch, *members = reply
        return epoch, [member.decode("ascii", "replace") for member in members]

    def await_end(self) -> None:
        """Waits until the connection ends, which is a MemberError. No other call may follow."""
        try:
            self._connection.read_response(timeout=None)
        except FAILURES as error:
            raise self._explain(error) from error
        raise self._nonsense("nothing")

    def info(self, section: str) -> dict[str, str]:
        """A section of INFO of any Redis server; empty if the server has no such section."""
        reply = self._call("INFO", section)
        lines = reply.decode("utf-8", "replace").splitlines() if isinstance(reply, bytes) else []
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    def settings(self, *names: str) -> dict[str, str]:
        """Those of these settings that the server has."""
        reply = self._call("CONFIG", "GET", *names)
        texts = [item.decode("utf-8", "replace") for item in reply]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def may_run(self, user: str, *command: str) -> bool:
        """Returns True if that user may run the command here. Rejected if there is no such user or command."""
        return bool(self._call("ACL", "DRYRUN", user, *command) == b"OK")

    def _call(self, *command: str | bytes, timeout_s: float | None = None) -> Any:
        with self._in_use:
            if self._announced:
                self._announced = None
                with contextlib.suppress(Rejected, Loading, Busy):
                    self._reply()
            self._send(command)
            return self._reply(timeout_s)

    def _send(self, *commands: Sequence[str | bytes]) -> None:
        """Send the commands in one write."""
        if not self._open:
            raise Silent(f"{self._endpoint}: the connection was lost")
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        except FAILURES as error:
            self.close()
            raise self._explain(error) from error

    def _reply(self, timeout_s: float | None = None) -> Any:
        """The reply to the first command that none was taken for yet."""
        timeout = self._settings.answer_timeout_s if timeout_s is None else timeout_s
        try:
            reply = self._connection.read_response(
                disable_decoding=True, timeout=None if timeout == math.inf else timeout, disconnect_on_error=False
            )
        except FAILURES as error:
            failure = self._explain(error)
            if not isinstance(failure, Rejected | Loading):
                self.close()
            raise failure from error
        if isinstance(reply, redis.ResponseError):
            raise self._explain(reply)
        return reply

    def _explain(self, error: Exception) -> MemberError:
        return explained(error, self._endpoint, self._settings.credentials())

    def _not_a_member(self) -> NotAMember:
        text = f"{self._endpoint}: is a server without libmember.so: start it with --loadmodule libmember.so"
        try:
            run_id = self.run_id()
        except MemberError:
            run_id = ""
        return NotAMember(text, run_id or None)

    def _nonsense(self, command: str) -> NotAMember:
        return NotAMember(f"{self._endpoint}: answers {command} in a way that this master does not understand")

    def _parse_state(self, reply: object) -> MemberState:
        try:
            return state_in(reply)
        except (TypeError, ValueError) as error:
            raise self._nonsense("CHAIN.STATE") from error


def _connection(endpoint: Endpoint, settings: Settings, tls: Tls | None) -> Any:  # redis-py does not annotate the class
    options: dict[str, Any] = {
        "host": endpoint.host,
        "port": endpoint.port,
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": settings.answer_timeout_s,
        "protocol": 2,
        "driver_info": None,
        "parser_class": BoundedParser,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
    }
    return TlsConnection(tls=tls, **options) if tls else Connection(**options)  # type: ignore[no-untyped-call]


def explained(error: Exception, server: Endpoint, login: Credentials) -> MemberError:
    """The one place where errors of redis-py become MemberErrors."""
    match error:
        case redis.BusyLoadingError():
            return Loading(f"{server}: is still loading its data: try again when it has")
        case redis.AuthenticationError():
            return Rejected(f"{server}: refuses the login ({str(error).rstrip('.')}): see {login.source}")
        case redis.ResponseError() if str(error).startswith("BUSY "):
            return Busy(f"{server}: is busy ({error})")
        case redis.ResponseError():
            return Rejected(f"{server}: says: {error}")
        case _ if failed := _cause(error, ssl.SSLError):
            return Silent(f"{server}: {why(failed)}")
        case redis.TimeoutError() | TimeoutError():
            return Silent(f"{server}: no answer in time")
        case redis.InvalidResponse() | ValueError() | RecursionError():
            return NotAMember(f"{server}: what answers there is no Redis server")
        case _ if _cause(error, ConnectionRefusedError):
            return Refused(f"{server}: nobody listens there")
        case _ if str(error) == SERVER_CLOSED_CONNECTION_ERROR or _cause(error, *_ENDS):
            return Closed(f"{server}: closed the connection")
    unknown_host = _cause(error, socket.gaierror)
    return Silent(f"{server}: the connection failed ({unknown_host.strerror if unknown_host else error})")


def mac(key: bytes, *parts: str) -> str:
    """HMAC-SHA-256 of docs/protocol.md, "Proof of the secret"."""
    return hmac.new(key, "".join(parts).encode(), hashlib.sha256).hexdigest()


def _cause(error: BaseException | None, *kinds: type[Error]) -> Error | None:
    """The socket's error, which redis-py wraps, if it is of one of these kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return error
        error = error.__cause__ or error.__context__
    return None
