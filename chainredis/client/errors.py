# SPDX-License-Identifier: Apache-2.0
"""What became of a command that did not succeed, and what an error of redis-py means for a chain."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

import redis


class NotWritten(redis.RedisError):
    """The command was not carried out, and will not be: it was never sent, or each member that got it refused it, until
    the time was over. Repeating it is safe. Of a read: nobody answered.

    keys: with `put_many`, the keys that were not written.
    """

    def __init__(self, message: str, keys: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.keys = list(keys)


class Unknown(redis.RedisError):
    """The command was sent, and may have been carried out: the answer was lost, and no member gave it again in time, or
    the server does not know. Read before you repeat it.

    keys: with `put_many`, the keys that may have been written. not_written: those that were not.
    """

    def __init__(self, message: str, keys: Sequence[Any] = (), not_written: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.keys = list(keys)
        self.not_written = list(not_written)


class Unreached(redis.ConnectionError):
    """No connection could be made, so that nothing was sent."""


# With these a server refuses a command before it looks at what that is.
NO_ANSWERS = ("BUSY ", "MISCONF ", "NOREPLICAS ", "max number of clients reached")


class Fate(Enum):
    """What an error says about a command that was sent, or was to be sent."""

    UNREACHED = auto()  # it was not sent
    REFUSED = auto()  # this member does not take it now; it was not carried out
    LOST = auto()  # it was sent, and the answer did not come
    UNKNOWN = auto()  # the server does not know whether it will survive
    FINAL = auto()  # any other member would say the same


REFUSALS = (
    redis.exceptions.MovedError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,  # and MASTERDOWN
    redis.exceptions.BusyLoadingError,
    redis.ReadOnlyError,
)
# redis-py takes the first word of an error away if that is ERR, and not if it does not know the word.
REFUSING_TEXTS = (
    "this member is in no chain at present",
    "this tail may not answer now",
    "not written: held back until the write timeout",
    "out of memory, or of threads: try again",
    "the gate has too much to do: try again",
    "this member's data was replaced meanwhile",
    "ONCEFULL ",
    "UNBLOCKED force unblock from blocking operation, instance state changed",
    # EXEC, when the server has become a replica since MULTI
    "Transaction discarded because of: READONLY",
    "Transaction discarded because of: MASTERDOWN",
    "Transaction discarded because of: LOADING",
)


def fate_of(error: redis.RedisError) -> Fate:
    """Judge an error that a command got from a member, or from the connection to it."""
    if isinstance(error, Unreached):
        return Fate.UNREACHED
    if is_refusal(error):
        return Fate.REFUSED
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.AuthorizationError)):
        return Fate.FINAL  # redis-py counts an answer NOAUTH among the errors of connections
    if isinstance(error, redis.exceptions.MaxConnectionsError):
        return Fate.FINAL
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)) or is_lost(error):
        return Fate.LOST
    return Fate.UNKNOWN if str(error).startswith(("UNKNOWN ", "ONCEOLD ")) else Fate.FINAL


def is_answer(error: redis.RedisError) -> bool:
    """Whether a final error is what the command itself was replied, and not why the server took no command at all."""
    return isinstance(error, redis.ResponseError) and not str(error).startswith(NO_ANSWERS)


def is_refusal(error: Any) -> bool:
    """Whether this is an error of a member that does not take commands of this kind now, but may do so later."""
    return isinstance(error, REFUSALS) or (
        isinstance(error, redis.ResponseError) and str(error).startswith(REFUSING_TEXTS)
    )


def raise_if_all_refused(replies: Sequence[Any]) -> None:
    if replies and all(map(is_refusal, replies)):
        raise replies[0]


def is_lost(error: redis.RedisError) -> bool:
    """Whether this is a WatchError for a lost connection, which redis-py raises even if EXEC was carried out."""
    return isinstance(error, redis.WatchError) and isinstance(
        error.__context__, (redis.ConnectionError, redis.TimeoutError)
    )

