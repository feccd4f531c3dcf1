"""A server in which starting a thread fails: the kernel has no more, once.

A library, built on the spot, stands before the C library's pthread_create; it lets everybody have a thread but the
module in question.
"""

import subprocess
from pathlib import Path

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
    """Words before a server's command: the member's thread of that number cannot be started."""
    source, library = folder / "failing.c", folder / "failing.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return "env", f"LD_PRELOAD={library}", f"FAILS={number}"
