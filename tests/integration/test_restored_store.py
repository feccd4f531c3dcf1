# SPDX-License-Identifier: Apache-2.0
"""The master's folder is restored from a backup, or lost, while the chain continues."""

import shutil

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.protocol.reconfiguration import EPOCHS_LEFT_OUT
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import Error, ask, assert_serves, await_chain, await_repair, info, stored_view

TWO_SECONDS = {"master.heartbeat-timeout": "2000", "master.heartbeat-interval": "100"}


def back_up(master: Server) -> None:
    master.kill()
    for path in master.folder.glob("chain.view.*"):
        shutil.copy(path, path.with_name(f"old.{path.name}"))
    master.start()


def restore(master: Server) -> None:
    master.kill()
    for path in master.folder.glob("old.chain.view.*"):
        path.replace(path.with_name(path.name.removeprefix("old.")))
    master.start()


def master_state(cluster: Cluster) -> str:
    return info(cluster.master, "master")["master_state"]


def test_a_restored_folder_is_brought_forward_by_what_members_know(chain: StartChain) -> None:
    cluster = chain(3, master_config=TWO_SECONDS)
    back_up(cluster.master)
    cluster.remove(cluster.members[1])
    cluster.add(cluster.spare())
    newest = stored_view(cluster)
    restore(cluster.master)
    wait_until(lambda: "has gone back to epoch 3" in master_state(cluster), 10)
    assert_serves(cluster)
    wait_until(lambda: stored_view(cluster).epoch == newest.epoch + EPOCHS_LEFT_OUT, 20)
    await_chain(cluster, *cluster.members)
    cluster.members[1].kill()
    await_repair(cluster, cluster.members[1])
    assert_serves(cluster)


def test_a_lost_folder_and_the_one_command_that_takes_a_chain_over(chain: StartChain) -> None:
    """MASTER.FORM with a restarted member ends the old chain, whose secret the master has lost."""
    cluster = chain(2, member_config=ALWAYS, master_config=TWO_SECONDS)
    head, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "kept", "yes") == 0
    cluster.master.kill()
    for path in cluster.master.folder.glob("chain.view.*"):
        path.unlink()
    cluster.master.start()
    refused = ask(cluster.master, "MASTER.FORM", HOST, tail.port)
    assert isinstance(refused, Error) and "restart that server with its data" in refused
    tail.kill()
    tail.start()
    assert ask(cluster.master, "MASTER.FORM", HOST, tail.port) == b"OK"
    assert ask(tail, "READ", "kept") == b"yes"
    head.kill()
    head.start()
    assert ask(cluster.master, "MASTER.ADD", HOST, head.port) == b"OK"
    await_chain(cluster, tail, head)
    assert_serves(cluster)
