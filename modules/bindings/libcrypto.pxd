# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of OpenSSL's libcrypto that is used here: message authentication. Extern only."""

cdef extern from "openssl/hmac.h" nogil:
    ctypedef struct EVP_MD:
        pass
    const EVP_MD *EVP_sha256()
    unsigned char *HMAC(
        const EVP_MD *, const void *key, int key_len, const unsigned char *data, size_t n,
        unsigned char *md, unsigned int *md_len)

cdef extern from "openssl/crypto.h" nogil:
    int CRYPTO_memcmp(const void *, const void *, size_t)
