#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What was deleted and compacted while a snapshot was open stays on the disk, and no later compaction takes it away.
#
# Most expect: a snapshot keeps what it shows until it is released. After that, compacting the whole range removes deleted records,
#     their deletions with them.
# What happens: the compaction under the snapshot moves records and deletions, side by side, into the deepest level. A manual
#     compaction rewrites each level into the next one, but never the deepest itself, so it finds nothing to do, however often it
#     is called, also after a restart. The space returns when new records between the old ones are compacted onto them.
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-29. Both ends of the range are given.
# Where it matters: a backup or a copy from a snapshot while old data are cleared away: the database stays at its old size with
#     nothing in it, and each scan goes over all that was deleted. Keys that grow with time never fall between the old ones.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: 20,000 records of 500 bytes are written, deleted and compacted; what is left on the disk"
seen=$(python - "$tmp" <<'EOF'
import os, pathlib, sys
import plyvel

VALUE = os.urandom(500)

def key(number: int) -> bytes:
    return b"%08d" % number

def show(what: str, folder: pathlib.Path, database: plyvel.DB) -> None:
    megabytes = sum(table.stat().st_size for table in folder.glob("*.ldb")) / 1e6
    print(f"{what}: {'10 to 11' if 10 <= megabytes <= 11 else f'{megabytes:.0f}'} MB, {sum(1 for _ in database)} records")

def compact(database: plyvel.DB) -> None:
    database.compact_range(start=b"\0", stop=b"\xff")

def deleted(name: str, with_snapshot: bool) -> tuple[pathlib.Path, plyvel.DB]:
    folder = pathlib.Path(sys.argv[1], name)
    database = plyvel.DB(str(folder), create_if_missing=True, compression=None)
    for number in range(20_000):
        database.put(key(number), VALUE)
    compact(database)
    snapshot = database.snapshot() if with_snapshot else None
    for number in range(20_000):
        database.delete(key(number))
    compact(database)
    if snapshot:
        snapshot.close()
    return folder, database

folder, database = deleted("without", False)
show("without a snapshot", folder, database)
folder, database = deleted("with", True)
show("with a snapshot, released since", folder, database)
for _ in range(3):
    compact(database)
show("compacted three times", folder, database)
for number in range(20_000, 21_000):
    database.put(key(number), b"new")
compact(database)
show("with 1,000 records behind them, compacted", folder, database)
database.close()
database = plyvel.DB(str(folder))
compact(database)
show("opened anew, compacted", folder, database)
for number in range(0, 20_000, 100):
    database.put(key(number), b"new")
compact(database)
show("with 200 records among them, compacted", folder, database)
EOF
)
verdict "$seen" "without a snapshot: 0 MB, 0 records
with a snapshot, released since: 10 to 11 MB, 0 records
compacted three times: 10 to 11 MB, 0 records
with 1,000 records behind them, compacted: 10 to 11 MB, 1000 records
opened anew, compacted: 10 to 11 MB, 1000 records
with 200 records among them, compacted: 0 MB, 1200 records"
