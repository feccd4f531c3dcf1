# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""TLS of this module's own connections, by the `tls-*` settings of the server. Used by members and masters.

The settings mean what they mean to Redis: a client shows `tls-client-cert-file` if that is set, else `tls-cert-file`;
whoever has a certificate of the authority in `tls-ca-cert-file` or `tls-ca-cert-dir` is trusted, and the name in the
certificate is not looked at. Redis reads the files when a setting changes. Here they are read anew when a file has
changed, too, so that a renewed certificate needs no CONFIG SET.
"""

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memset, strcmp, strstr
from posix.stat cimport stat, struct_stat

from modules.bindings.libssl cimport (
    ERR_GET_REASON, ERR_clear_error, ERR_peek_last_error, ERR_reason_error_string, SSL, SSL_CTX, SSL_CTX_free,
    SSL_CTX_load_verify_locations, SSL_CTX_new, SSL_CTX_set_cipher_list, SSL_CTX_set_ciphersuites,
    SSL_CTX_set_default_passwd_cb_userdata, SSL_CTX_set_mode, SSL_CTX_set_options, SSL_CTX_set_session_cache_mode,
    SSL_CTX_set_verify, SSL_CTX_up_ref, SSL_CTX_use_PrivateKey_file, SSL_CTX_use_certificate_chain_file,
    SSL_FILETYPE_PEM, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_OP_IGNORE_UNEXPECTED_EOF, SSL_OP_NO_COMPRESSION,
    SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_SSLv3, SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2,
    SSL_OP_NO_TLSv1_3, SSL_R_WRONG_VERSION_NUMBER, SSL_SESS_CACHE_OFF, SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_get_verify_result, TLS_client_method, TLS_server_method, X509_V_OK,
    X509_verify_cert_error_string,
)
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModule_Log
from modules.server.redis_calls cimport is_configured, redis_setting

cdef enum:
    TLS_PATH_BYTES = 1024
    TLS_TEXT_BYTES = 512
    TLS_ERROR_BYTES = 256


cdef struct FileStamp:
    # What changes when a file is written or replaced. All is 0: there is no such file.
    uint64_t file
    uint64_t bytes
    uint64_t seconds
    uint64_t nanoseconds


cdef struct Identity:
    # A certificate, and how to use it.
    char cert[TLS_PATH_BYTES]
    char key[TLS_PATH_BYTES]
    char password[TLS_TEXT_BYTES]
    FileStamp cert_stamp
    FileStamp key_stamp


cdef struct TlsSettings:
    # The `tls-*` settings as text, and which files they mean at present. Compared as bytes.
    Identity server
    Identity client
    char ca_file[TLS_PATH_BYTES]
    char ca_dir[TLS_PATH_BYTES]
    FileStamp ca_stamp
    char protocols[TLS_TEXT_BYTES]      # empty: OpenSSL's default
    char ciphers[TLS_PATH_BYTES]
    char ciphersuites[TLS_PATH_BYTES]
    char auth_clients[16]


cdef struct Tls:
    # Contexts for new connections. An SSL made from one keeps the context alive. Zeroed: no settings were read yet.
    SSL_CTX *client             # for connections that this module makes
    SSL_CTX *server             # for connections that it accepts
    TlsSettings settings        # of the last attempt to make contexts
    char error[TLS_ERROR_BYTES]     # why that failed; empty: it did not


cdef inline bint tls_replicates(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether links between servers of the chain are to use TLS."""
    return is_configured(ctx, "tls-replication", "yes")


# ----------------------------------------------------------------------------------------- reading the settings

cdef inline void stamp_file(const char *path, FileStamp *out) noexcept nogil:
    cdef struct_stat found
    if path[0] and stat(path, &found) == 0:
        out.file, out.bytes = <uint64_t>found.st_ino, <uint64_t>found.st_size
        out.seconds, out.nanoseconds = <uint64_t>found.st_ctim.tv_sec, <uint64_t>found.st_ctim.tv_nsec


cdef inline void identity_read(
    RedisModuleCtx *ctx, Identity *out, const char *cert, const char *key, const char *password,
) noexcept nogil:
    redis_setting(ctx, cert, out.cert, sizeof(out.cert))
    redis_setting(ctx, key, out.key, sizeof(out.key))
    redis_setting(ctx, password, out.password, sizeof(out.password))
    stamp_file(out.cert, &out.cert_stamp)
    stamp_file(out.key, &out.key_stamp)


cdef inline void tls_read(RedisModuleCtx *ctx, TlsSettings *out) noexcept nogil:
    """Read the settings. A server that was built without TLS has none of them: all are empty."""
    memset(out, 0, sizeof(TlsSettings))
    identity_read(ctx, &out.server, "tls-cert-file", "tls-key-file", "tls-key-file-pass")
    identity_read(ctx, &out.client, "tls-client-cert-file", "tls-client-key-file", "tls-client-key-file-pass")
    if not out.client.cert[0] or not out.client.key[0]:
        out.client = out.server
    redis_setting(ctx, "tls-ca-cert-file", out.ca_file, sizeof(out.ca_file))
    redis_setting(ctx, "tls-ca-cert-dir", out.ca_dir, sizeof(out.ca_dir))
    stamp_file(out.ca_file, &out.ca_stamp)
    redis_setting(ctx, "tls-protocols", out.protocols, sizeof(out.protocols))
    redis_setting(ctx, "tls-ciphers", out.ciphers, sizeof(out.ciphers))
    redis_setting(ctx, "tls-ciphersuites", out.ciphersuites, sizeof(out.ciphersuites))
    redis_setting(ctx, "tls-auth-clients", out.auth_clients, sizeof(out.auth_clients))


# ------------------------------------------------------------------------------------------------- contexts

cdef inline const char *or_null(const char *text) noexcept nogil:
    return text if text[0] else NULL


cdef inline const char *openssl_reason() noexcept nogil:
    """Returns why OpenSSL has failed last on this thread."""
    cdef const char *reason = ERR_reason_error_string(ERR_peek_last_error())
    if reason == NULL:
        return "unknown error"
    return reason


cdef inline uint64_t refused_protocols(const char *protocols) noexcept nogil:
    """Returns the options that switch off what `tls-protocols` does not name. Empty stands for TLSv1.2 and TLSv1.3."""
    cdef uint64_t refused = SSL_OP_NO_SSLv3
    if not protocols[0]:
        return refused | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1
    if strstr(protocols, "TLSv1.3") == NULL:
        refused |= SSL_OP_NO_TLSv1_3
    if strstr(protocols, "TLSv1.2") == NULL:
        refused |= SSL_OP_NO_TLSv1_2
    if strstr(protocols, "TLSv1.1") == NULL:
        refused |= SSL_OP_NO_TLSv1_1
    if strstr(protocols, "TLSv1 ") == NULL and strcmp(protocols, "TLSv1") != 0:
        refused |= SSL_OP_NO_TLSv1
    return refused


cdef inline int asked_of_clients(const char *auth_clients) noexcept nogil:
    """Returns how certificates of clients are verified."""
    if strcmp(auth_clients, "no") == 0:
        return SSL_VERIFY_NONE
    if strcmp(auth_clients, "optional") == 0:
        return SSL_VERIFY_PEER
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT


cdef inline bint take_identity(SSL_CTX *context, const Identity *own, char *error) noexcept nogil:
    cdef bint good
    # OpenSSL's own callback takes this text for the password, also an empty one. With none it would ask at a terminal.
    SSL_CTX_set_default_passwd_cb_userdata(context, <void *>&own.password[0])
    good = SSL_CTX_use_certificate_chain_file(context, own.cert) == 1
    if not good:
        snprintf(error, TLS_ERROR_BYTES, "cannot use the certificate %.128s: %.64s", own.cert, openssl_reason())
    elif SSL_CTX_use_PrivateKey_file(context, own.key, SSL_FILETYPE_PEM) != 1:     # also if it is another one's
        good = False
        snprintf(error, TLS_ERROR_BYTES, "cannot use the key %.128s: %.64s", own.key, openssl_reason())
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL)
    return good


cdef inline bint take_settings(SSL_CTX *context, const TlsSettings *settings, char *error) noexcept nogil:
    cdef const char *what = NULL
    if (settings.ca_file[0] or settings.ca_dir[0]) and SSL_CTX_load_verify_locations(
            context, or_null(settings.ca_file), or_null(settings.ca_dir)) != 1:
        what = "tls-ca-cert-file, tls-ca-cert-dir"
    elif settings.ciphers[0] and SSL_CTX_set_cipher_list(context, settings.ciphers) != 1:
        what = "tls-ciphers"
    elif settings.ciphersuites[0] and SSL_CTX_set_ciphersuites(context, settings.ciphersuites) != 1:
        what = "tls-ciphersuites"
    if what != NULL:
        snprintf(error, TLS_ERROR_BYTES, "cannot use %s: %.64s", what, openssl_reason())
    return what == NULL


cdef inline SSL_CTX *tls_context(const TlsSettings *settings, bint serves, char *error) noexcept nogil:
    """Returns a context for connections that are accepted (`serves`) or made. NULL: `error`, of TLS_ERROR_BYTES, says
    why there is none.
    """
    cdef SSL_CTX *context = SSL_CTX_new(TLS_server_method() if serves else TLS_client_method())
    if context == NULL:
        snprintf(error, TLS_ERROR_BYTES, "OpenSSL: %s", openssl_reason())
        return NULL
    # A process that was killed says no goodbye. That is no forgery: the messages themselves show where they end.
    SSL_CTX_set_options(context, refused_protocols(settings.protocols) | SSL_OP_NO_COMPRESSION
                        | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF)
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF)
    SSL_CTX_set_verify(context, asked_of_clients(settings.auth_clients) if serves else SSL_VERIFY_PEER, NULL)
    if (take_identity(context, &settings.server if serves else &settings.client, error)
            and take_settings(context, settings, error)):
        return context
    SSL_CTX_free(context)
    return NULL


cdef inline bint tls_refresh(Tls *tls, RedisModuleCtx *ctx) noexcept nogil:
    """Make contexts of the present settings and files, if those have changed. To be called before each connection, on
    the main thread. Returns False if there are none; `tls.error` says why.

    If new files cannot be used, the contexts before stay: a certificate and its key are not renewed at one time.
    """
    cdef TlsSettings settings
    cdef SSL_CTX *client
    cdef SSL_CTX *server
    cdef const char *kept = ""
    tls_read(ctx, &settings)
    if memcmp(&settings, &tls.settings, sizeof(TlsSettings)) == 0:
        return tls.client != NULL
    tls.settings = settings
    tls.error[0] = 0
    ERR_clear_error()
    client = tls_context(&settings, False, tls.error)
    server = tls_context(&settings, True, tls.error) if client != NULL else NULL
    ERR_clear_error()
    if server == NULL:
        SSL_CTX_free(client)
        if tls.client != NULL:
            kept = ": what was read before is used"
        RedisModule_Log(ctx, "warning", "TLS: %s%s", &tls.error[0], kept)
        return tls.client != NULL
    SSL_CTX_free(tls.client)
    SSL_CTX_free(tls.server)
    tls.client, tls.server = client, server
    return True


cdef inline bint tls_for_links(Tls *tls, RedisModuleCtx *ctx, SSL_CTX **out) noexcept nogil:
    """Get the context for a connection to another server of the chain. The caller frees it. NULL: without TLS.

    Returns False if TLS is wanted and cannot be had; `tls.error` says why.
    """
    out[0] = NULL
    if not tls_replicates(ctx):
        return True
    if not tls_refresh(tls, ctx):
        return False
    out[0] = tls.client
    SSL_CTX_up_ref(tls.client)
    return True


# --------------------------------------------------------------------------------------------------- reasons

cdef inline void tls_reason(const SSL *ssl, char *out, size_t room) noexcept nogil:
    """Write why TLS has failed on this connection: by OpenSSL's last error on this thread. Empties its list."""
    cdef unsigned long error = ERR_peek_last_error()
    cdef long verified = SSL_get_verify_result(ssl)
    if verified != X509_V_OK:
        snprintf(out, room, "TLS: the peer's certificate is not accepted: %s", X509_verify_cert_error_string(verified))
    elif error == 0:
        snprintf(out, room, "TLS: the peer closed the connection")
    elif ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER:
        snprintf(out, room, "TLS: the peer does not speak it there: perhaps that is the port without TLS")
    else:
        snprintf(out, room, "TLS: %s", openssl_reason())
    ERR_clear_error()
