# SPDX-License-Identifier: Apache-2.0
"""A supervised connection to etcd: the one place that selects an endpoint, connects again, and explains errors.

python-etcd3 makes the connection and the messages. Its own watches become silent when etcd goes away, and its leases
end without an error: this module does not use them.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import grpc

from chainredis.etcd.package import etcd3, etcdrpc, increment_last_byte, transactions
from chainredis.etcd.url import host_port
from chainredis.protocol.errors import EtcdAway, EtcdRefusal, LeaseLost, StoreError
from chainredis.protocol.view import Endpoint

T = TypeVar("T")

# A request may take this part of a lease: several attempts have to fit into the rest of it.
REQUEST_PART, LEAST_REQUEST_S, MOST_REQUEST_S = 0.2, 0.5, 3.0
# A transaction that was not answered for so long is sent again, beside the one that may still be answered.
ASK_AGAIN_S = 0.25
_OPTIONS = [
    # A server that disappears is noticed. etcd closes connections that ping more often than every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # A new channel is a new attempt, also after an earlier one to the same address failed.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
_FAILURES = (grpc.RpcError, etcd3.Etcd3Exception, OSError, ValueError, StopIteration)
_AWAY = {
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED,
}  # fmt: skip
# After a restart of etcd, or a change of its users, a new connection gets a new token.
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")


@dataclass(frozen=True)
class Access:
    """Where an etcd is, and the credentials for it. ca, cert, key: names of PEM files; there is no TLS without a ca."""

    endpoints: tuple[Endpoint, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""


class Entry(NamedTuple):
    """The value of a key. modified: the revision in which it was put. lease: the key's lease, 0 for none."""

    value: bytes
    modified: int
    lease: int


class Picture(NamedTuple):
    """All keys with a prefix, at a revision."""

    revision: int
    entries: dict[str, Entry]


class Update(NamedTuple):
    """What has changed since a picture. None: the key was deleted."""

    revision: int
    entries: dict[str, Entry | None]


class Connection:
    """A connection to one of the endpoints at a time. Any thread may use it; every call ends in bounded time.

    Errors are EtcdAway, if another attempt may succeed, and EtcdRefusal, if it will not until somebody has changed
    something. A call is tried again at the other endpoints: its request may be carried out twice.
    """

    def __init__(self, access: Access, lease_s: float) -> None:
        """lease_s: the length of the leases that depend on this connection, in seconds."""
        self._access = access
        self._timeout_s = min(max(lease_s * REQUEST_PART, LEAST_REQUEST_S), MOST_REQUEST_S)
        self._lock = threading.Lock()
        self._turn = 0
        self._client: Any = None
        self._is_closed = False

    def close(self) -> None:
        """Calls under way end with EtcdAway."""
        self._is_closed = True
        self._turn_away_from(self._client)

    # -------------------------------------------------------------------------------------------- requests

    def read(self, prefix: str) -> Picture:
        """The newest picture of the keys with this prefix."""
        answer = self._call(lambda client: client.get_prefix_response(prefix))
        return Picture(answer.header.revision, dict(map(_named, answer.kvs)))

    def put_if(self, conditions: list[Any], key: str, value: str, lease: int = 0) -> int | None:
        """The revision in which the key was put; None if a condition does not hold. LeaseLost if there is no lease."""
        answer = self._transact(conditions, _put(key, value, lease))
        return answer.header.revision if answer.succeeded else None

    def put_and_read(
        self, conditions: list[Any], key: str, value: str, lease: int, other: str
    ) -> tuple[int, Entry | None] | None:
        """As `put_if`, with what another key has in that revision, None for nothing."""
        get = etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=other.encode()))
        answer = self._transact(conditions, _put(key, value, lease), get)
        found = dict(map(_named, answer.responses[1].response_range.kvs)) if answer.succeeded else {}
        return (answer.header.revision, found.get(other)) if answer.succeeded else None

    def _transact(self, conditions: list[Any], *wanted: Any) -> Any:
        """`transaction` of python-etcd3 wants fields of what is read that these messages leave out."""
        compare = [condition.build_message() for condition in conditions]
        transaction = etcdrpc.TxnRequest(compare=compare, success=wanted)
        return self._call(lambda client: _ask_until_answered(client, transaction))

    def put(self, key: str, value: str, lease: int) -> None:
        self.put_if([], key, value, lease)

    def grant(self, ttl_s: int) -> tuple[int, int]:
        """A new lease, and for how many seconds it lasts: `ttl_s` or more."""
        lease = self._call(lambda client: client.lease(ttl_s))
        return lease.id, lease.ttl

    def keep_alive(self, lease: int) -> int:
        """For how many seconds the lease lasts from now on; 0 if it has ended."""
        return int(self._call(lambda client: next(client.refresh_lease(lease))).TTL)

    def revoke(self, lease: int) -> None:
        """End the lease and delete its keys. No error if it has ended already."""
        with contextlib.suppress(LeaseLost):
            self._call(lambda client: client.revoke_lease(lease))

    def watch(self, prefix: str, revision: int, life_s: float) -> Iterator[Update]:
        """Updates from that revision on, for `life_s` seconds. Ends early if etcd has that revision no more."""
        client = self._connected()
        over = threading.Event()
        try:
            stream = _open_watch(client, prefix, revision, life_s, over)
        except _FAILURES as error:  # another thread has closed the channel just now
            raise self._explain(error) from error
        try:
            for answer in stream:
                if answer.canceled:
                    return
                yield Update(answer.header.revision, dict(map(_changed, answer.events)))
        except grpc.RpcError as error:
            if not _is_code(error, grpc.StatusCode.DEADLINE_EXCEEDED):
                self._turn_away_from(client)
                raise self._explain(error) from error
        finally:
            over.set()
            stream.cancel()

    # ------------------------------------------------------------------------------------------- supervision

    def _call(self, request: Callable[[Any], T]) -> T:
        for attempts_left in range(len(self._access.endpoints), -1, -1):
            client = None
            try:
                client = self._connected()
                return request(client)
            except (EtcdAway, *_FAILURES) as error:
                failure = self._explain(error)
                self._turn_away_from(client)
                if not isinstance(failure, EtcdAway) or not attempts_left or self._is_closed:
                    raise failure from error
        raise AssertionError("the last attempt returns or raises")

    def _connected(self) -> Any:
        """Raises StoreError."""
        with self._lock:
            if self._client is None:
                if self._is_closed:
                    raise EtcdAway("the connection to etcd was closed")
                self._client = self._connect(self._access.endpoints[self._turn % len(self._access.endpoints)])
            return self._client

    def _connect(self, endpoint: Endpoint) -> Any:
        access = self._access
        if (access.cert or access.key) and not access.ca:
            raise EtcdRefusal("etcd-cert and etcd-key are for TLS, which wants etcd-ca, too")
        host = host_port(endpoint).rpartition(":")[0]
        try:
            client = etcd3.client(
                host, endpoint.port, access.ca or None, access.key or None, access.cert or None, self._timeout_s,
                access.user or None, access.password if access.user else None, _OPTIONS,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise EtcdRefusal(f"the files of etcd-ca, etcd-cert and etcd-key cannot be used: {error}") from error
        except _FAILURES as error:
            self._turn += 1
            raise self._explain(error) from error
        # The token goes with each request, as metadata; grpc sends what it calls credentials over TLS only.
        client.call_credentials = None
        return client

    def _turn_away_from(self, client: Any) -> None:
        """The next call goes to the next endpoint, unless another thread has changed the connection already."""
        with self._lock:
            if client is None or client is not self._client:
                return
            self._client = None
            self._turn += 1
        client.close()

    def _explain(self, error: BaseException) -> StoreError:
        """The one place where errors of grpc and python-etcd3 become StoreErrors."""
        where = ", ".join(map(host_port, self._access.endpoints))
        if isinstance(error, StoreError):
            return error
        rpc = _rpc_error(error)
        if rpc is None:  # another thread has closed the connection
            return EtcdAway(f"etcd cannot be reached at {where} ({error})")
        code, details = rpc.code(), str(rpc.details())
        if code in _AWAY or any(text in details for text in _STALE_TOKEN):
            return EtcdAway(f"etcd cannot be reached at {where} ({details})")
        if code is grpc.StatusCode.NOT_FOUND and "lease" in details:
            return LeaseLost("the lease in etcd has run out")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return EtcdRefusal(f"etcd at {where} takes nothing in ({details}): give it room, then etcdctl alarm disarm")
        return EtcdRefusal(f"etcd at {where} refuses ({details}): see the settings etcd-user and etcd-password")


def is_modified_at(key: str, revision: int) -> Any:
    """A condition: the key was last put in this revision; 0: there is no such key."""
    return transactions.Mod(key) == revision


def has_value(key: str, value: str) -> Any:
    """A condition: the key has this value."""
    return transactions.Value(key) == value


def _put(key: str, value: str, lease: int) -> Any:
    return etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=key.encode(), value=value.encode(), lease=lease))


def _ask_until_answered(client: Any, transaction: Any) -> Any:
    """The first answer. What etcd's servers are asked is lost from the end of the one that led them until they have
    elected another one, which takes them a second or two: so without an answer they are asked again, several times in
    the time of one request.

    The answers to all of them are waited for. A slow etcd has carried out the first one, and then it refuses the
    others: only the first answer says that.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asked: list[Any] = []
    until = monotonic() + client.timeout
    try:
        while True:
            asked.append(client.kvstub.Txn.future(transaction, client.timeout, metadata=client.metadata))
            asked[-1].add_done_callback(answers.put)
            if (answer := _answer_in(answers, until)) is not None:
                return answer.result()
    finally:
        for each in asked:
            each.cancel()


def _answer_in(answers: "queue.SimpleQueue[Any]", until: float) -> Any:
    """The call that has been answered within ASK_AGAIN_S; None for none. After `until` every end is an answer."""
    ask_again_at = monotonic() + ASK_AGAIN_S
    with contextlib.suppress(queue.Empty):
        while True:
            answer = answers.get(timeout=max(ask_again_at - monotonic(), 0))
            if not _is_lost(answer.exception()) or monotonic() >= until:
                return answer
    return None


def _is_lost(error: Any) -> bool:
    """Returns True if nobody has answered, also if it is the server that says so: it waits for another server."""
    if _is_code(error, grpc.StatusCode.DEADLINE_EXCEEDED):
        return True
    return _is_code(error, grpc.StatusCode.UNAVAILABLE) and "request timed out" in str(error.details())


def _open_watch(client: Any, prefix: str, revision: int, life_s: float, over: threading.Event) -> Any:
    key = prefix.encode()
    wanted = etcdrpc.WatchCreateRequest(key=key, range_end=increment_last_byte(key), start_revision=revision)

    def requests() -> Iterator[Any]:
        yield etcdrpc.WatchRequest(create_request=wanted)
        over.wait()  # the watch ends with its requests

    # A server that has lost the other servers of its etcd ends the watch, instead of being silent.
    metadata = (*(client.metadata or ()), ("hasleader", "true"))
    return etcdrpc.WatchStub(client.channel).Watch(requests(), life_s, metadata=metadata)


def _named(pair: Any) -> tuple[str, Entry]:
    return _text(pair.key), Entry(pair.value, pair.mod_revision, pair.lease)


def _changed(event: Any) -> tuple[str, Entry | None]:
    return (_text(event.kv.key), None) if event.type else _named(event.kv)


def _text(key: bytes) -> str:
    return key.decode(errors="replace")


def _rpc_error(error: BaseException | None) -> Any:
    """The error of grpc behind one of python-etcd3's, which have no text; None if there is none."""
    while error is not None:
        if isinstance(error, grpc.RpcError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_code(error: Any, code: grpc.StatusCode) -> bool:
    with contextlib.suppress(AttributeError):
        return bool(error.code() is code)
    return False
