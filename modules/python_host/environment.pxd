# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Where a module finds its Python: the executable, which leads to the packages, and the package chainredis.

A module of a clone, in build/src, has the virtual environment that it was built with, and the clone's package. A module
that pip has installed is a file of the package, PREFIX/lib/python3.x/site-packages/chainredis/modules/lib….so, and has
the environment that it is in, wherever that is.
"""

from libc.stdio cimport snprintf
from libc.string cimport strcmp, strlen, strrchr

from posix.unistd cimport X_OK, access

from modules.bindings.libc cimport Dl_info, PATH_MAX, dladdr, realpath

cdef extern from *:
    # Defined by setup.py.
    const char *PYTHON "CHAINREDIS_PYTHON"              # path of the virtual environment's executable
    const char *ROOT "CHAINREDIS_ROOT"                  # path of the folder that holds the package chainredis
    const char *BASE_PYTHON "CHAINREDIS_BASE_PYTHON"    # path of the executable that the environment was made of
    const char *PYTHON_NAME "CHAINREDIS_PYTHON_NAME"    # how executables of this version are called: python3.11


cdef struct Environment:
    char python[PATH_MAX]   # path of the executable
    char root[PATH_MAX]     # path of the folder that holds the package chainredis


cdef inline void environment_find(Environment *found) noexcept nogil:
    """A path of this module that cannot be resolved counts as one in the clone."""
    cdef const char *inside = b"/chainredis/modules"
    cdef Dl_info here
    cdef char *file_name
    cdef size_t folder_bytes = 0
    if dladdr(<void *>environment_find, &here) and realpath(here.dli_fname, found.root) != NULL:
        file_name = strrchr(found.root, c"/")
        file_name[0] = 0
        folder_bytes = strlen(found.root)
    if folder_bytes > strlen(inside) and strcmp(found.root + folder_bytes - strlen(inside), inside) == 0:
        found.root[folder_bytes - strlen(inside)] = 0
        environment_of_package(found)
    else:
        snprintf(found.python, PATH_MAX, b"%s", PYTHON)
        snprintf(found.root, PATH_MAX, b"%s", ROOT)


cdef inline void environment_of_package(Environment *found) noexcept nogil:
    """The executable of the prefix that `root` is in. A prefix without one is not an environment of its own, such as
    /usr/local of Debian's Python or a user's own folder: there the base executable serves.
    """
    cdef char *end
    cdef int _depth
    snprintf(found.python, PATH_MAX, b"%s", found.root)
    for _depth in range(3):      # lib, python3.x, site-packages
        end = strrchr(found.python, c"/")
        if end != NULL:
            end[0] = 0
    cdef size_t prefix_bytes = strlen(found.python)
    snprintf(found.python + prefix_bytes, PATH_MAX - prefix_bytes, b"/bin/%s", PYTHON_NAME)
    if access(found.python, X_OK) != 0:
        snprintf(found.python, PATH_MAX, b"%s", BASE_PYTHON)
