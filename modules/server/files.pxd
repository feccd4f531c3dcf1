# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Files that must survive a loss of power."""

from modules.bindings.libc cimport O_DIRECTORY, O_RDONLY, close, fsync, open


cdef inline bint sync_folder(const char *path) noexcept nogil:
    """Sync the folder, so that created and renamed files are found after a loss of power. Returns False on an
    error.
    """
    cdef int fd = open(path, O_RDONLY | O_DIRECTORY)
    cdef bint good = fd >= 0 and fsync(fd) == 0
    if fd >= 0:
        close(fd)
    return good
