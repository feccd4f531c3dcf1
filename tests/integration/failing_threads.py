# SPDX-License-Identifier: Apache-2.0
"""Makes the start of one thread in a server fail, once, as if the kernel had no more threads.

A preloaded library replaces pthread_create. It refuses only threads of the module under test.
"""

from pathlib import Path

from preloading import preloading

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int started;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    Dl_info whose;
    if (dladdr((void *)main, &whose) && strstr(whose.dli_fname, "libmember.so") && ++started == atoi(getenv("FAILS")))
        return EAGAIN;
    return real(thread, attributes, main, argument);
}
"""


def failing_thread(folder: Path, number: int) -> tuple[str, ...]:
    """Words to put before a server's command, so that the member's thread of that number cannot be started."""
    return preloading(folder, SOURCE, FAILS=number)
