# cython: language_level=3
"""Files that are on the disk for good."""

from modules.bindings.libc cimport O_DIRECTORY, O_RDONLY, close, fsync, open


cdef inline bint sync_folder() noexcept nogil:
    """That files of the present folder were created and renamed is on the disk."""
    cdef int fd = open(".", O_RDONLY | O_DIRECTORY)
    cdef bint good = fd >= 0 and fsync(fd) == 0
    if fd >= 0:
        close(fd)
    return good
