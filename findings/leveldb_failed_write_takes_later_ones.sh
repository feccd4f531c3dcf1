#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes of LevelDB that succeeded and were synced are lost, because one before them failed.
#
# Most expect: a write that raises, as on a disk that is full for a moment, is lost alone. Whoever makes room and goes on
#     writes as before, and what is written with sync=True after that is on the disk.
# What happens: the failed write leaves a part of its record in the log, and later records are appended to that, each at another place
#     than the format says. The process reads them, as from memory. The next open takes the whole rest of the log (4 MiB, unless
#     write_buffer_size is another) for damaged and drops it without an error, with all that was synced there. A close does not
#     help; only a new log does, which a reopen right after the failure begins.
# Version: LevelDB 1.22 as in plyvel 1.5.1, 2026-11-30.
# Where it matters: each program that takes an IOError of put() or write() for the end of one write, not of the database. With
#     paranoid_checks the next open raises instead, and what is lost is lost all the same.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, $(python -c 'import plyvel; print("LevelDB", plyvel.__leveldb_version__)')"
echo "behaviour: 500 synced writes, one that finds no room, 500 synced writes with room again; then the database is opened again"
seen=$(python - "$tmp" <<'EOF'
import os, resource, signal, sys
import plyvel

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)       # a file that may not grow is an error of write(), as is a full disk
most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def lost(name: str, reopens: bool) -> None:
    folder = os.path.join(sys.argv[1], name)
    database = plyvel.DB(folder, create_if_missing=True)

    def write(when: str) -> None:
        for number in range(500):
            database.put(f"{when} {number}".encode(), b"value" * 20, sync=True)

    def count() -> str:
        return ", ".join(f"{sum(1 for _ in database.iterator(prefix=when.encode()))} {when}" for when in ("before", "after"))

    write("before")
    log = next(entry.path for entry in os.scandir(folder) if entry.name.endswith(".log"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(log) + 50, hard))
    try:
        database.put(b"failed", b"value" * 20, sync=True)
        failure = "no error"
    except plyvel.IOError:
        failure = "IOError"
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    if reopens:
        database.close()
        database = plyvel.DB(folder)
    write("after")
    here = count()
    database.close()
    database = plyvel.DB(folder)
    print(f"{name}: {failure}; the process reads {here}; opened again: {count()}")
    database.close()

lost("goes on", False)
lost("reopens after the error", True)
EOF
)
verdict "$seen" "goes on: IOError; the process reads 500 before, 500 after; opened again: 500 before, 0 after
reopens after the error: IOError; the process reads 500 before, 500 after; opened again: 500 before, 500 after"
