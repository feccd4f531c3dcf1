# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of OpenSSL's libssl that is used here. Extern only."""

from libc.stdint cimport uint64_t

cdef extern from "openssl/ssl.h" nogil:
    enum:
        SSL_ERROR_NONE
        SSL_ERROR_SSL
        SSL_ERROR_SYSCALL
        SSL_ERROR_WANT_READ
        SSL_ERROR_WANT_WRITE
        SSL_ERROR_ZERO_RETURN
        SSL_FILETYPE_PEM
        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        SSL_MODE_ENABLE_PARTIAL_WRITE
        SSL_SESS_CACHE_OFF
        SSL_VERIFY_NONE
        SSL_VERIFY_PEER
        SSL_VERIFY_FAIL_IF_NO_PEER_CERT

    const uint64_t SSL_OP_NO_SSLv3
    const uint64_t SSL_OP_NO_TLSv1
    const uint64_t SSL_OP_NO_TLSv1_1
    const uint64_t SSL_OP_NO_TLSv1_2
    const uint64_t SSL_OP_NO_TLSv1_3
    const uint64_t SSL_OP_NO_COMPRESSION
    const uint64_t SSL_OP_NO_RENEGOTIATION
    const uint64_t SSL_OP_IGNORE_UNEXPECTED_EOF     # since OpenSSL 3.0

    ctypedef struct SSL:
        pass
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct X509_STORE:
        pass
    ctypedef struct X509_STORE_CTX:
        pass
    ctypedef struct STACK_OF_X509 "STACK_OF(X509)":
        pass

    const SSL_METHOD *TLS_client_method()
    const SSL_METHOD *TLS_server_method()
    SSL_CTX *SSL_CTX_new(const SSL_METHOD *)
    int SSL_CTX_up_ref(SSL_CTX *)
    void SSL_CTX_free(SSL_CTX *)                    # NULL is allowed
    uint64_t SSL_CTX_set_options(SSL_CTX *, uint64_t)
    long SSL_CTX_set_mode(SSL_CTX *, long)
    long SSL_CTX_set_session_cache_mode(SSL_CTX *, long)
    void SSL_CTX_set_verify(SSL_CTX *, int mode, void *callback)
    void SSL_CTX_set_default_passwd_cb_userdata(SSL_CTX *, void *password)
    int SSL_CTX_use_certificate_chain_file(SSL_CTX *, const char *path)
    int SSL_CTX_use_PrivateKey_file(SSL_CTX *, const char *path, int type)
    int SSL_CTX_load_verify_locations(SSL_CTX *, const char *file, const char *folder)
    int SSL_CTX_set_cipher_list(SSL_CTX *, const char *)
    int SSL_CTX_set_ciphersuites(SSL_CTX *, const char *)

    X509 *SSL_CTX_get0_certificate(const SSL_CTX *)
    long SSL_CTX_get0_chain_certs(SSL_CTX *, STACK_OF_X509 **)
    X509_STORE *SSL_CTX_get_cert_store(const SSL_CTX *)

    SSL *SSL_new(SSL_CTX *)
    int SSL_up_ref(SSL *)
    void SSL_free(SSL *)                            # NULL is allowed
    void SSL_set_accept_state(SSL *)
    int SSL_set_num_tickets(SSL *, size_t)
    void SSL_set_connect_state(SSL *)
    void SSL_set_verify(SSL *, int mode, void *callback)
    int SSL_set_fd(SSL *, int fd)
    int SSL_connect(SSL *)
    int SSL_accept(SSL *)
    int SSL_do_handshake(SSL *)
    int SSL_is_init_finished(const SSL *)
    int SSL_read(SSL *, void *out, int most)
    int SSL_peek(SSL *, void *out, int most)
    int SSL_write(SSL *, const void *bytes, int count)
    int SSL_pending(const SSL *)
    int SSL_shutdown(SSL *)
    int SSL_get_error(const SSL *, int result)
    long SSL_get_verify_result(const SSL *)

cdef extern from "openssl/x509_vfy.h" nogil:
    enum:
        X509_V_OK
    const char *X509_verify_cert_error_string(long)
    X509_STORE_CTX *X509_STORE_CTX_new()
    int X509_STORE_CTX_init(X509_STORE_CTX *, X509_STORE *, X509 *, STACK_OF_X509 *)
    int X509_STORE_CTX_set_purpose(X509_STORE_CTX *, int)
    int X509_STORE_CTX_get_error(const X509_STORE_CTX *)
    void X509_STORE_CTX_free(X509_STORE_CTX *)      # NULL is allowed
    int X509_verify_cert(X509_STORE_CTX *)

cdef extern from "openssl/x509v3.h" nogil:
    enum:
        X509_PURPOSE_SSL_SERVER

cdef extern from "openssl/err.h" nogil:
    unsigned long ERR_peek_last_error()
    void ERR_clear_error()
    int ERR_GET_REASON(unsigned long)
    const char *ERR_reason_error_string(unsigned long)      # NULL: unknown

cdef extern from "openssl/sslerr.h" nogil:
    enum:
        SSL_R_WRONG_VERSION_NUMBER
