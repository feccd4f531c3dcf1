#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A process that only reads a LevelDB rewrites it on the disk.
#
# Most expect: compaction is the price of writes: a database that nobody writes to lies still on the disk, and get() costs
#     reads alone.
# What happens: LevelDB counts how often a get() looks into a table in vain before it finds its key in a deeper level. A table of 2 MB
#     is merged into the next level after 128 such looks, by the same background thread as after writes. A database of 22 MB
#     that had come to rest has less than half of its tables left after some get()s, and about its own size was written.
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-29. There is no setting against it.
# Where it matters: databases on disks that are full or wear out; backups that copy tables of a database "at rest", or
#     that link to them; measurements of reads, the first of which are slower and run beside a writing thread.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: tables and bytes that are written by 200,000 get()s of a database at rest"
seen=$(python - "$tmp/database" <<'EOF'
import os, random, sys, time
import plyvel

folder, order = sys.argv[1], random.Random(1)

def tables() -> set[str]:
    return {name for name in os.listdir(folder) if name.endswith(".ldb")}

def tables_at_rest() -> set[str]:
    seen = None
    while (now := tables()) != seen:
        seen = now
        time.sleep(2)
    return now

def written() -> int:
    with open("/proc/self/io") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))

keys = [b"%08d" % number for number in range(200_000)]
order.shuffle(keys)
database = plyvel.DB(folder, create_if_missing=True, write_buffer_size=1 << 20, compression=None)
for key in keys:
    database.put(key, b"x" * 100)
database.close()

database = plyvel.DB(folder, compression=None)
before, begun = tables_at_rest(), written()
time.sleep(2)
print(f"without get()s: {written() - begun} bytes are written")
for _ in range(200_000):
    database.get(order.choice(keys))
left = tables_at_rest() & before
print(f"with them: {'more' if written() - begun > 5_000_000 else 'less'} than 5 MB, "
      f"{'less' if 2 * len(left) < len(before) else 'more'} than half of the tables are left")
EOF
)
verdict "$seen" "without get()s: 0 bytes are written
with them: more than 5 MB, less than half of the tables are left"
