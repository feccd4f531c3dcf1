# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Does a server accept its own certificate? It has to, where its module plays its master over TLS."""

from libc.stdio cimport snprintf

from modules.bindings.libssl cimport (
    SSL_CTX_get0_certificate, SSL_CTX_get0_chain_certs, SSL_CTX_get_cert_store, STACK_OF_X509, X509_PURPOSE_SSL_SERVER,
    X509_STORE_CTX, X509_STORE_CTX_free, X509_STORE_CTX_get_error, X509_STORE_CTX_init, X509_STORE_CTX_new,
    X509_STORE_CTX_set_purpose, X509_verify_cert, X509_verify_cert_error_string, ERR_clear_error,
)
from modules.server.tls cimport Tls


cdef inline bint accepts_itself(const Tls *tls, char *why, size_t room) noexcept nogil:
    """Judge the certificates that were read last, as a client of this server would. Writes the reason into `why`."""
    cdef X509_STORE_CTX *judge = X509_STORE_CTX_new()
    cdef STACK_OF_X509 *between = NULL
    cdef const char *reason = "out of memory"
    cdef bint good
    SSL_CTX_get0_chain_certs(tls.server, &between)
    good = (judge != NULL
            and X509_STORE_CTX_init(judge, SSL_CTX_get_cert_store(tls.client), SSL_CTX_get0_certificate(tls.server),
                                    between) == 1
            and X509_STORE_CTX_set_purpose(judge, X509_PURPOSE_SSL_SERVER) == 1 and X509_verify_cert(judge) == 1)
    if not good:
        if judge != NULL:
            reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(judge))
        snprintf(why, room, "this server does not accept its own certificate, by which its module speaks TLS with it: "
                 "%s", reason)
    X509_STORE_CTX_free(judge)
    ERR_clear_error()
    return good
