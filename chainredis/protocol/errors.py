# SPDX-License-Identifier: Apache-2.0
"""Errors of the master, one class for each conclusion that may be drawn from it."""

from chainredis.protocol.view import View


class Unusable(Exception):
    """A setting cannot be used. The text names the remedy."""


class CommandError(Exception):
    """A command at the master failed and changed nothing (rule 6). The text is the error reply and names the remedy."""

    first_word = "ERR"

    def __init__(self, text: str) -> None:
        super().__init__(f"{self.first_word} {' '.join(text.split())}")  # an error reply is one line


class OutcomeUnknown(CommandError):
    """The change is stored, or may be, and may take place later (rule 6): unlike other CommandErrors."""

    first_word = "UNKNOWN"


class Elsewhere(CommandError):
    """Another master leads. The text is `0 host:port` of that master: clients follow the redirection by themselves."""

    first_word = "MOVED"


class StoreError(Exception):
    """The stored view cannot be read or written."""


class Deposed(StoreError):
    """The master does not lead any more: what it wanted to store is not stored, and never will be."""


class EtcdAway(StoreError):
    """etcd does not answer: the request may have been carried out, or not. Another attempt may succeed."""


class EtcdRefusal(StoreError):
    """etcd refuses the request. The text names what has to be changed."""


class LeaseLost(StoreError):
    """The lease in etcd has ended, and all of its keys are gone."""


class OperatorError(Exception):
    """What an operator wants of a running chain was refused, or its outcome is not known. The text says which."""


class BackupError(Exception):
    """A backup cannot be read or written. The text says why."""


class CheckpointError(Exception):
    """A checkpoint cannot be read, or is damaged. The text says how."""


class MemberError(Exception):
    """A call at a server failed. The text says how, after the server's `host:port`."""


class Refused(MemberError):
    """Nobody listens on that port."""


class OtherProcess(MemberError):
    """Another process than the expected one answers on that port."""


class Silent(MemberError):
    """No answer came in time, or the connection broke. The server may be alive or dead."""


class Closed(Silent):
    """The server has closed the connection: a client's for many reasons, a lifeline only when its process ends."""


class Loading(MemberError):
    """The server is alive, and is still loading its data."""


class NotAMember(MemberError):
    """The server is not one with libmember.so. run_id: the server's, if it is a Redis server that tells it."""

    def __init__(self, text: str, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id = run_id


class Rejected(MemberError):
    """The server answered with an error."""


class Busy(Rejected):
    """The server is alive, and busy with a script."""


class Stale(MemberError):
    """The member was told a view, and is in the newer one `view`."""

    def __init__(self, text: str, view: View) -> None:
        super().__init__(text)
        self.view = view


class CannotFeed(MemberError):
    """The member refuses a view with a new tail: it does not have all updates that the new tail lacks."""


class TooFar(MemberError):
    """The member's log does not go back to that position, or differs from it: only a copy of all data helps."""
