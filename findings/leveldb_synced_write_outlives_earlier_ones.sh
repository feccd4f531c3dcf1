#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A synced write to LevelDB survives a power cut that loses thousands of earlier writes.
#
# Most expect: the log is written in order, so a write with sync=True carries all earlier writes to the disk; LevelDB's own manual
#     advises, for a bulk load, to sync each N-th write and to begin again after the last one that was synced.
# What happens: sync=True syncs the log that the write is in. When the write buffer is full, LevelDB begins a new log and does not
#     sync the old one: its writes are safe only when the table made of them is, some hundred milliseconds later. A power cut
#     in between keeps the synced write and loses everything since the last sync in the old log: a hole, not a lost end.
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-29.
# Where it matters: "the newest record on the disk says that those before it are there", such as a watermark or a sequence that is
#     written last and synced; bulk loads by the manual. What must be there has to be in the same synced batch, or synced itself.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

# Instead of the power cut: each file is copied as it is when it is synced, and the database is opened with what the copies hold.
cc -shared -fPIC -o "$tmp/synced.so" -x c - <<'EOF'
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int synced(int fd) {
    char source[64], copy[4096];
    struct stat file;
    if (fstat(fd, &file)) return -1;
    if (!S_ISREG(file.st_mode)) return 0;       // a folder: all names are kept
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    snprintf(copy, sizeof copy, "%s/%llu", getenv("SYNCED"), (unsigned long long)file.st_ino);
    int in = open(source, O_RDONLY), out = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (off_t left = file.st_size; left > 0;) {
        ssize_t sent = sendfile(out, in, NULL, left);
        if (sent <= 0) return -1;
        left -= sent;
    }
    return close(in) | close(out);
}
int fdatasync(int fd) { return synced(fd); }
int fsync(int fd) { return synced(fd); }
EOF

cat >"$tmp/write.py" <<'EOF'
import os, sys
import plyvel

folder = sys.argv[1]
logs = lambda: sum(name.endswith(".log") for name in os.listdir(folder))
database = plyvel.DB(folder, create_if_missing=True, write_buffer_size=32 << 20)
for number in range(1_000_000):
    database.put(b"early %06d" % number, os.urandom(500))
    if number % 50 == 0 and logs() > 1:     # the table of the old log's writes is under way
        break
database.put(b"late", b"", sync=True)
os._exit(0)
EOF

cat >"$tmp/read.py" <<'EOF'
import os, shutil, sys
import plyvel

folder, copies = sys.argv[1:]
for name in os.listdir(folder):
    path = os.path.join(folder, name)
    copy = os.path.join(copies, str(os.stat(path).st_ino))
    shutil.copy(copy if os.path.exists(copy) else os.devnull, path)
database = plyvel.DB(folder)
early = sum(1 for _ in database.iterator(prefix=b"early", include_value=False))
print("the synced write is", "lost" if database.get(b"late") is None else "there")
print("of more than 50,000 writes before it,", "fewer than 1,000 are" if early < 1000 else "more than 1,000 are", "there")
EOF

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: what is in the files, as far as they were synced, after one synced write that follows others"
mkdir "$tmp/copies"
SYNCED="$tmp/copies" LD_PRELOAD="$tmp/synced.so" python "$tmp/write.py" "$tmp/database"
seen=$(python "$tmp/read.py" "$tmp/database" "$tmp/copies")
verdict "$seen" "the synced write is there
of more than 50,000 writes before it, fewer than 1,000 are there"
