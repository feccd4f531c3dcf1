# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The C library's calls on files that are read and written at places. Extern only."""

from modules.bindings.descriptors cimport iovec

cdef extern from "sys/uio.h" nogil:
    long writev(int fd, const iovec *parts, int count)

cdef extern from "unistd.h" nogil:
    long pread(int fd, void *out, size_t count, long offset)
    int fdatasync(int fd)
    int truncate(const char *path, long length)
    int unlink(const char *path)

cdef extern from "fcntl.h" nogil:
    enum:
        O_APPEND
        O_CREAT
        O_EXCL
        O_WRONLY

cdef extern from "sys/stat.h" nogil:
    struct file_stat "stat":
        long st_size
    int stat(const char *path, file_stat *out)
    int mkdir(const char *path, unsigned int mode)

cdef extern from "errno.h" nogil:
    enum:
        EEXIST
        EINTR
