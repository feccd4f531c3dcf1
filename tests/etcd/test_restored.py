# SPDX-License-Identifier: Apache-2.0
"""An etcd that is restored from an older backup, or comes back empty, while masters and members run."""

import shutil
from collections.abc import Callable

from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, url_of
from chainredis.local_cluster.ports import HOST
from chainredis.transport.waiting import wait_until
from etcd.conftest import StartChain
from etcd.test_away import etcdctl
from integration.helpers import ask, assert_serves, await_chain, await_repair, info, stored_view


def assert_goes_on(c: EtcdChain) -> None:
    """Assert that the masters know the chain again and repair it after the next death."""
    await_chain(c, *c.members)
    c.members[1].kill()
    await_repair(c, c.members[1])
    assert_serves(c)


def change_a_lot(c: EtcdChain) -> int:
    c.remove(c.members[1])
    c.add(c.spare())
    return stored_view(c).epoch


def backup(etcd: EtcdServer) -> Callable[[], None]:
    """Returns what puts it back to what it has now."""
    data, copy = etcd.folder / "data", etcd.folder / "backup"
    etcd.stop()
    shutil.copytree(data, copy)
    etcd.start()

    def restore() -> None:
        etcd.kill()
        shutil.rmtree(data)
        copy.rename(data)
        etcd.start()

    return restore


def test_an_older_view_that_is_put_back_is_overwritten_by_the_leader(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(3, url=url_of("chain", etcd))
    older = etcdctl(etcd, "get", "chain/view", "--print-value-only")
    newest = change_a_lot(c)
    etcdctl(etcd, "put", "chain/view", older)
    wait_until(lambda: stored_view(c).epoch == newest, 10)
    etcdctl(etcd, "del", "chain/view")
    wait_until(lambda: (configuration := c.stored()) is not None and configuration.view.epoch == newest, 10)
    assert_goes_on(c)


def test_an_etcd_restored_from_a_backup_is_brought_forward(chain: StartChain, etcd: EtcdServer) -> None:
    """There are two masters. Neither of them needs to have led when the backup was made."""
    c = chain(3, url=url_of("chain", etcd), masters=2)
    restore = backup(etcd)
    newest = change_a_lot(c)
    restore()
    wait_until(lambda: stored_view(c).epoch >= newest, 30)
    assert_goes_on(c)


def test_an_etcd_restored_to_an_earlier_term_of_the_leader_gets_what_it_has_stored(
    chain: StartChain, etcd: EtcdServer
) -> None:
    """The lease of both terms is the same, and goes on. etcd counts its revisions from before the newer term."""
    c = chain(3, url=url_of("chain", etcd))
    restore = backup(etcd)
    term = info(c.master, "master")["master_term"]
    etcdctl(etcd, "del", "chain/leader")
    wait_until(lambda: info(c.master, "master")["master_term"] not in (term, "0"), 20)
    newest = change_a_lot(c)
    restore()
    wait_until(lambda: stored_view(c).epoch >= newest, 30)
    assert_goes_on(c)


def test_an_etcd_that_comes_back_empty_gets_what_masters_remember(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(3, url=url_of("chain", etcd), masters=2)
    newest = change_a_lot(c)
    etcd.kill()
    shutil.rmtree(etcd.folder / "data")
    etcd.start()
    wait_until(lambda: (configuration := c.stored()) is not None and configuration.view.epoch > newest, 30)
    names = [f"{HOST}:{each.port}".encode() for each in c.members]
    wait_until(lambda: ask(c.leader(), "MASTER.GET_CHAIN") == names, 10)  # etcd has it before the leader knows that
    assert_goes_on(c)
