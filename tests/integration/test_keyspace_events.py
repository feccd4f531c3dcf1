# SPDX-License-Identifier: Apache-2.0
"""Keyspace notifications: each member notifies of an update that it applies as of a native SET or DEL."""

from integration.conftest import StartChain
from integration.helpers import Talk, ask, settled


def heard(listener: Talk, last: bytes) -> list[bytes]:
    """The notifications, as "key event" or "event key", up to one of the key `last`."""
    messages: list[bytes] = []
    while not messages or last not in messages[-1]:
        _, _, channel, text = listener.receive()
        messages.append(channel.partition(b"__:")[2] + b" " + text)
    return messages


def test_every_member_notifies_of_what_it_applies(chain: StartChain) -> None:
    cluster = chain(2, member_config={"notify-keyspace-events": "KEA"})
    listeners = [Talk(member) for member in cluster.members]
    for listener in listeners:
        listener("PSUBSCRIBE", "__key*__:*")
    for value in ["1", "2", "x" * 2000]:
        ask(cluster.head, "MEMBER.PUT", "k", value)
    for key in ["k", "k", "none"]:
        ask(cluster.head, "MEMBER.DEL", key)
    ask(cluster.head, "MEMBER.PUT", "last", "")
    expected = [*[b"k set", b"set k"] * 3, b"k del", b"del k", b"last set"]
    for listener in listeners:
        assert heard(listener, b"last") == expected
        listener.close()


def test_nothing_is_notified_of_unless_it_is_configured(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.tail) as listener:
        listener("PSUBSCRIBE", "*")
        ask(cluster.head, "MEMBER.PUT", "k", "v")
        settled(cluster)
        assert ask(cluster.tail, "PUBLISH", "end", "") == 1
        assert listener.receive()[2] == b"end"
