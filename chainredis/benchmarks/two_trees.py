# SPDX-License-Identifier: Apache-2.0
"""The same measurements in this clone and in another one, by turns: the machine's bad minutes disturb both alike."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import ROOT

# Run in each clone, with what was there before this file. They print, by the name of a row, what was measured.
FAILOVER = """\
import json, sys
from chainredis.benchmarks.clients import Load
from chainredis.benchmarks.kills import CLIENTS, POSITIONS, measure_failover
from chainredis.local_cluster.cluster import Cluster
with Cluster(len(POSITIONS), commands=sys.argv[1], master_config={"master.auto-return": "no"}) as cluster:
    found = measure_failover(cluster, int(sys.argv[2]), Load(), lambda text: None)
print(json.dumps({f"{position} killed, gap of {clients}": [one.gap for one in found.gaps(position, clients)]
                  for position in POSITIONS for clients in CLIENTS}))
"""
DISKS = """\
import json, sys
from chainredis.benchmarks.load import CLIENTS, VALUE, closed_loop, exchange, one_client
from chainredis.benchmarks.rows import ONE_PUT, SOME_KEYS
from chainredis.local_cluster.cluster import Cluster
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
ONE_SET = exchange(([("SET", name, VALUE)] for name in SOME_KEYS), rb"\\+OK\\r\\n")
updates, found = int(sys.argv[1]), {}
for commands, what, update in (("put", "blocking PUT", ONE_PUT), ("all", "held SET", ONE_SET)):
    with Cluster(3, commands=commands, member_config=ALWAYS) as cluster:
        closed_loop(cluster.head, update, 10 * CLIENTS)
        found[f"3 disks, {what}: 1000 by {CLIENTS} clients"] = [1e6 / closed_loop(cluster.head, update, updates)]
        found[f"3 disks, {what}: one client"] = [one_client(cluster.head, update, updates // 20) / 1000]
print(json.dumps(found))
"""
# Both clones ask each server on one connection, and do not wait for the end of what they kill, as `_line` and `_kill`
# of this one.
ETCD = """\
import json, signal, sys
from chainredis.benchmarks.clients import Load, RunningLoad
from chainredis.benchmarks import etcd
from chainredis.benchmarks.etcd import Cases, _carry_out, running_chain
from chainredis.local_cluster.server import Server
found, clients = {}, {}
def call(server, *words):
    client = clients.get(server.pid) or clients.setdefault(server.pid, server.client(timeout_s=600))
    return client.execute_command(*words)
Server.call = call
class Struck(Server):
    def kill(server):
        server.signal(signal.SIGKILL)
etcd.Server = Struck
with running_chain(int(sys.argv[1])) as chain:
    with RunningLoad([member.endpoint for member in chain.members], Load()) as running:
        for _ in range(int(sys.argv[2])):
            for what, case in Cases(chain).all():
                if sys.argv[3] in what:
                    found.setdefault(what, []).append(_carry_out(what, case).ms)
        running.stop()
print(json.dumps(found))
"""
COLUMNS = ("milliseconds", "there: median", "worst", "here: median", "worst", "ratio: median", "worst")

Rows = dict[str, list[float]]


def compare(
    other: Path, script: str, arguments: Sequence[object], turns: int, progress: Callable[[str], None]
) -> Table:
    """A table of what `script` measures in `other` and here. LauncherError if it fails in one of them."""
    if not _python(other).is_file():
        raise LauncherError(f"{other} is no clone of this project that was built: it has no {_python(other)}")
    there: Rows = defaultdict(list)
    here: Rows = defaultdict(list)
    for turn in range(turns):
        sides = [(other, there), (ROOT, here)]
        for clone, rows in sides if turn % 2 else reversed(sides):
            progress(f"turn {turn + 1} of {turns}: {clone.name}")
            for name, values in _measured(clone, script, arguments).items():
                rows[name] += values
    table = Table(*COLUMNS, title=f"by turns with {other}, {turns} turns")
    for cells in compared(there, here):
        table.add_row(*cells)
    return table


def compared(there: Rows, here: Rows) -> Iterator[list[str]]:
    for name in there:
        figures = [(median(rows[name]), max(rows[name])) for rows in (there, here)]
        ratios = [after / before for before, after in zip(*figures, strict=True)]
        yield [name, *(f"{figure:.1f}" for side in figures for figure in side), *(f"{ratio:.2f}" for ratio in ratios)]


def _measured(clone: Path, script: str, arguments: Sequence[object]) -> Rows:
    command = [str(_python(clone)), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LauncherError(f"the measurement in {clone} failed:\n{done.stderr}")
    found: Rows = json.loads(done.stdout.splitlines()[-1])
    return found


def _python(clone: Path) -> Path:
    return clone.resolve() / ".venv/bin/python"
