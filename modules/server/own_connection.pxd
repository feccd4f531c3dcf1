# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The bytes of a connection between a module and its own server, with TLS or without."""

from modules.bindings.libc cimport errno
from modules.bindings.libssl cimport (
    ERR_clear_error, SSL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_get_error, SSL_read, SSL_write,
)
from modules.bindings.socket cimport EAGAIN, EINTR, MSG_NOSIGNAL, recv, send

cdef enum:
    RECORD_BYTES = 16384        # what one record of TLS holds
    ENDED = -1                  # the connection is of no more use


cdef inline long after_call(long result) noexcept nogil:
    if result > 0:
        return result
    return 0 if result < 0 and (errno == EAGAIN or errno == EINTR) else ENDED


cdef inline long after_tls(SSL *ssl, int result) noexcept nogil:
    """Leaves OpenSSL's reason where `tls_reason` finds it."""
    cdef int error
    if result > 0:
        return result
    error = SSL_get_error(ssl, result)
    return 0 if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else ENDED


cdef inline long own_read(int fd, SSL *ssl, void *out, size_t most) noexcept nogil:
    """Returns the number of bytes that were read; 0: there are none at present; ENDED. ssl: NULL without TLS.

    The handshake of TLS goes on in the calls. What is left in a record is not in the socket, and no event tells of it:
    call it until it returns 0.
    """
    if ssl == NULL:
        return after_call(recv(fd, out, most, 0))
    ERR_clear_error()
    return after_tls(ssl, SSL_read(ssl, out, <int>most))


cdef inline long own_write(int fd, SSL *ssl, const void *bytes, size_t count) noexcept nogil:
    """Returns the number of bytes that were taken; 0: none at present; ENDED.

    With TLS at most a record goes in one call, and after 0 the same bytes are to be given again, or they and more.
    """
    if ssl == NULL:
        return after_call(send(fd, bytes, count, MSG_NOSIGNAL))
    ERR_clear_error()
    return after_tls(ssl, SSL_write(ssl, bytes, <int>min(count, <size_t>RECORD_BYTES)))
