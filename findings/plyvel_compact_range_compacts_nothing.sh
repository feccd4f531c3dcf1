#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compact_range() of plyvel without its end compacts nothing.
#
# Most expect: an end that is left out is open, as in iterator(): compact_range() compacts the whole database, and with a start
#     alone all from there on.
# What happens: LevelDB is given the empty key for each end that is missing. Before the first key that is right for a start; as an
#     end it is before every key, so the range is empty, and only what is in memory is written into a table. No error. With a
#     stop, even without a start, all is as expected.
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-29.
# Where it matters: the call after much was deleted, at night or before a backup, that is to give the space back.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: 20,000 records of 500 bytes are written and deleted; what compact_range() leaves of them on the disk"
seen=$(python - "$tmp" <<'EOF'
import os, pathlib, sys
import plyvel

VALUE = os.urandom(500)
for number, ends in enumerate(({}, {"start": b"0"}, {"stop": b"9"}, {"start": b"0", "stop": b"9"})):
    folder = pathlib.Path(sys.argv[1], str(number))
    database = plyvel.DB(str(folder), create_if_missing=True, compression=None)
    for record in range(20_000):
        database.put(b"%08d" % record, VALUE)
    for record in range(20_000):
        database.delete(b"%08d" % record)
    database.compact_range(**ends)
    megabytes = sum(table.stat().st_size for table in folder.glob("*.ldb")) / 1e6
    arguments = ", ".join(f"{name}={end}" for name, end in ends.items())
    print(f"compact_range({arguments}): {'10 to 11' if 10 <= megabytes <= 11 else f'{megabytes:.0f}'} MB, {sum(1 for _ in database)} records")
    database.close()
EOF
)
verdict "$seen" "compact_range(): 10 to 11 MB, 0 records
compact_range(start=b'0'): 10 to 11 MB, 0 records
compact_range(stop=b'9'): 0 MB, 0 records
compact_range(start=b'0', stop=b'9'): 0 MB, 0 records"
