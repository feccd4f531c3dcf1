"""A new tail gets the checkpoint, too."""

from servers.conftest import StartChain
from servers.helpers import ask, info, member_number, settled
from servers.test_checkpoint import FLUSH, checkpoint, flush
from servers.test_checkpoint_restart import aged, read_all


def test_a_new_tail_has_what_was_flushed(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    wanted = aged(cluster)
    newcomer = cluster.grow()
    assert read_all(cluster, list(wanted)) == wanted
    assert ask(newcomer, "GET", "key:30") is None
    cluster.remove(cluster.head)
    assert read_all(cluster, list(wanted)) == wanted
    settled(cluster)
    checkpoint(cluster)
    flush(cluster)
    assert info(newcomer, "keyspace") == {}
    assert read_all(cluster, list(wanted)) == wanted
    assert member_number(newcomer, "checkpoint_failures") == 0
