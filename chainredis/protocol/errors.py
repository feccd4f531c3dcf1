"""What can go wrong, told apart by what the master may conclude from it."""

from chainredis.protocol.view import View


class Unusable(Exception):
    """What somebody has configured cannot be used. The text names the remedy."""


class CommandError(Exception):
    """A command at the master failed, and changed nothing. The text is the error reply, and names the remedy."""

    first_word = "ERR"

    def __init__(self, text: str) -> None:
        super().__init__(f"{self.first_word} {' '.join(text.split())}")  # an error reply is one line


class OutcomeUnknown(CommandError):
    """Not CommandError's promise: the change is stored, or may be, and takes place sooner or later (rule 6)."""

    first_word = "UNKNOWN"


class Elsewhere(CommandError):
    """Another master leads. The text is `0 host:port`, of that one: clients follow it by themselves."""

    first_word = "MOVED"


class StoreError(Exception):
    """The stored view cannot be read or written."""


class Deposed(StoreError):
    """The master leads no longer: what it wanted to store is not stored, and never will be."""


class EtcdAway(StoreError):
    """No answer from etcd: what was asked for may have happened, or not. Another attempt may succeed."""


class EtcdRefusal(StoreError):
    """etcd answers, and says no. The text names what is to be changed."""


class LeaseLost(StoreError):
    """The lease, and with it every key that hung on it, is gone."""


class BackupError(Exception):
    """A backup cannot be read, or written. The text says why."""


class CheckpointError(Exception):
    """A checkpoint cannot be read, or is not what it should be."""


class MemberError(Exception):
    """A conversation with a server failed. The text says how, after the server's `host:port`."""


class Refused(MemberError):
    """Nobody listens on that port."""


class OtherProcess(MemberError):
    """Another process than the one meant answers on that port."""


class Silent(MemberError):
    """No answer in time, or the connection broke. Alive or dead: unknown."""


class Closed(Silent):
    """The connection stood, and that side closed it: a client's for many reasons, a lifeline when its process ends."""


class Loading(MemberError):
    """Alive, and still loading its data."""


class NotAMember(MemberError):
    """What answers is no server with libmember.so. `run_id` is the server's, if it is a Redis that tells."""

    def __init__(self, text: str, run_id: str | None = None) -> None:
        super().__init__(text)
        self.run_id = run_id


class Rejected(MemberError):
    """The server answered with an error."""


class Busy(Rejected):
    """Alive, and busy with a script."""


class Stale(MemberError):
    """The member is in a newer view than the one that it was told: `view`."""

    def __init__(self, text: str, view: View) -> None:
        super().__init__(text)
        self.view = view


class CannotFeed(MemberError):
    """The member refuses a view with a new tail: it does not have all that this one lacks."""


class TooFar(MemberError):
    """The member's log does not reach back so far, or says something else: only a copy helps."""
