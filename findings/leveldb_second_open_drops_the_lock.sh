#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A second open() of a LevelDB that is refused, rightly, takes the first one's lock away.
#
# Most expect: a refused open changes nothing: the database stays locked for its one owner.
# What happens: the second open in the same process opens the LOCK file, finds in a table of the process that it is
#     held, and closes the file again. POSIX drops all of a process's record locks of a file when it closes any
#     descriptor of it, so the lock is gone, and another process opens the database while the first one still writes to
#     it. No error, no line in LOG. (Merely reading the LOCK file, as a backup by copying does, has the same effect.)
# Version: plyvel 1.5.1 with its LevelDB 1.22, 2026-11-28.
# Where it matters: programs that try again to open, or open from two places; then two writers destroy the database.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

packages plyvel==1.5.1

echo "version: plyvel 1.5.1, LevelDB $(python -c 'import plyvel; print(plyvel.__leveldb_version__)')"
echo "behaviour: another process is refused, then let in after this process's own second open was refused"
seen=$(python - "$tmp/database" <<'EOF'
import subprocess, sys
import plyvel

OPEN = "import plyvel, sys\ntry:\n plyvel.DB(sys.argv[1])\n print('opens it')\nexcept plyvel.IOError: print('is refused')"

def another_process() -> str:
    return subprocess.run([sys.executable, "-c", OPEN, sys.argv[1]], capture_output=True, text=True).stdout.strip()

database = plyvel.DB(sys.argv[1], create_if_missing=True)
print(f"while it is open, another process {another_process()}")
try:
    plyvel.DB(sys.argv[1])
except plyvel.IOError as error:
    print(f"opened again here: {str(error).rpartition(': ')[2]}")
print(f"while it is still open, another process {another_process()}")
EOF
)
verdict "$seen" "while it is open, another process is refused
opened again here: already held by process'
while it is still open, another process opens it"
