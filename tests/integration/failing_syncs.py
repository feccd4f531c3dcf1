# SPDX-License-Identifier: Apache-2.0
"""Makes a server's wait for the disk fail, or be its last act, at a chosen write to a checkpoint's log.

A preloaded library replaces fdatasync. What a failed one was to bring to the disk is read back by later programs, as
from the kernel's cache.
"""

from pathlib import Path

from preloading import preloading

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int count;

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 4)
        return 0;
    path[length] = 0;
    return strstr(path, "/checkpoint-") && strcmp(path + length - 4, ".log") == 0;
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (!is_log(fd))
        return result;
    count++;
    if (count == atoi(getenv("DIES_AT")))
        kill(getpid(), SIGKILL);
    if (count == atoi(getenv("FAILS_AT"))) {
        errno = EIO;
        return -1;
    }
    return result;
}
"""


def failing_sync(folder: Path, *, fails_at: int, dies_at: int) -> tuple[str, ...]:
    """Words to put before a server's command. The syncs of the log are counted from 1 on."""
    return preloading(folder, SOURCE, FAILS_AT=fails_at, DIES_AT=dies_at)
