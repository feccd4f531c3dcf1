#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Repairing a LevelDB that is not damaged brings records back that were deleted.
#
# Most expect: a repair may lose data of a damaged database; one that is in order, and was closed properly, is the same afterwards.
# What happens: tables that a compaction has replaced stay in the folder while an iterator reads them, and after it was closed,
#     until the next compaction or opening. The repair takes every table that it finds for a part of the database. The compaction
#     had dropped the deletions with the records that they deleted, so nothing hides the old ones any more: all are back.
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-29. Opening the database once before the repair removes such tables.
# Where it matters: scripts that repair first, to be on the safe side, and backups of the folder that are repaired when restored.
#     An iterator that was left open at the end of a process is enough.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: 1,000 records are written, compacted, deleted and compacted; how many there are before and after a repair"
seen=$(python - "$tmp" <<'EOF'
import sys
import plyvel

def records(folder: str) -> int:
    database = plyvel.DB(folder)
    count = sum(1 for _ in database)
    database.close()
    return count

def deleted(folder: str, with_iterator: bool) -> int:
    """Returns how many records there are in the end."""
    database = plyvel.DB(folder, create_if_missing=True)
    for number in range(1000):
        database.put(b"%04d" % number, b"value")
    database.compact_range(start=b"\0", stop=b"\xff")
    reader = database.iterator() if with_iterator else None
    for number in range(1000):
        database.delete(b"%04d" % number)
    database.compact_range(start=b"\0", stop=b"\xff")
    if reader:
        reader.close()
    count = sum(1 for _ in database)
    database.close()
    return count

for name, with_iterator, opened in ("no iterator", False, False), ("an iterator, closed", True, False), ("opened in between", True, True):
    folder = f"{sys.argv[1]}/{name}"
    before = deleted(folder, with_iterator)
    if opened:
        records(folder)
    plyvel.repair_db(folder)
    print(f"{name}: {before} records before the repair, {records(folder)} after it")
EOF
)
verdict "$seen" "no iterator: 0 records before the repair, 0 after it
an iterator, closed: 0 records before the repair, 1000 after it
opened in between: 0 records before the repair, 0 after it"
