#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A nogil function of Cython that returns -1 takes the interpreter's lock; one that returns -2 does not.
#
# Most expect: `cdef int find(...) nogil` is a plain C function that never touches the interpreter, whatever it returns.
# What happens: without `noexcept`, -1 stands for "perhaps an exception" since Cython 3, and each caller that gets it
#     acquires the lock to look. C's customary "not found" thus waits while another Python thread has the lock, and
#     Cython gives no hint, as it does for functions that return nothing.
# Version: Cython 3.3.1 on Python 3.11, 2026-11-28.
# Where it matters: loops without the lock beside a busy Python thread. `noexcept`, or another value, is the way out.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cython_3_3_1
cat >"$tmp/probe.pyx" <<'EOF'
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport usleep

cdef int look(int answer) nogil:
    return answer

def search(int answer):
    """Milliseconds that one call of look() takes, without the interpreter's lock, a fifth of a second from now."""
    cdef timespec begun, ended
    with nogil:
        usleep(200000)
        clock_gettime(CLOCK_MONOTONIC, &begun)
        look(answer)
        clock_gettime(CLOCK_MONOTONIC, &ended)
    return (ended.tv_sec - begun.tv_sec) * 1000 + (ended.tv_nsec - begun.tv_nsec) // 1000000
EOF

echo "version: $(cython_version)"
echo "behaviour: one call in a nogil block, while another thread holds the interpreter's lock for a second"
compile_cython probe.pyx
seen=$(cd "$tmp" && python - <<'EOF'
import concurrent.futures, ctypes, time
import probe

with concurrent.futures.ThreadPoolExecutor() as pool:
    for answer in -2, -1:
        searching = pool.submit(probe.search, answer)
        time.sleep(0.1)
        ctypes.PyDLL(None).usleep(1000000)      # PyDLL keeps the lock
        print(f"look() answers {answer} {'at once' if searching.result() < 300 else 'when the lock is free'}")
EOF
)
verdict "$seen" "look() answers -2 at once
look() answers -1 when the lock is free"
