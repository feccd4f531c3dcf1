# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Proofs that a peer knows the secret: nonces and HMACs (docs/protocol.md)."""

from libc.string cimport memcpy, strlen

from modules.bindings.libcrypto cimport CRYPTO_memcmp, EVP_sha256, HMAC
from modules.bindings.redismodule cimport RedisModule_GetRandomBytes
from modules.core.hex cimport to_hex

cdef enum:
    NONCE_BYTES = 33            # 32 hexadecimal digits and a zero byte
    SECRET_BYTES = 16
    PROOF_BYTES = 65            # 64 hexadecimal digits and a zero byte


cdef inline void draw_nonce(char *out) noexcept nogil:
    """Write a random nonce of NONCE_BYTES to `out`."""
    cdef unsigned char random[16]
    RedisModule_GetRandomBytes(random, sizeof(random))
    to_hex(random, sizeof(random), out)


cdef inline void prove_with(
    const unsigned char *secret, const char *what, const char *first, const char *second, const char *run_id, char *out,
) noexcept nogil:
    """Compute the HMAC-SHA-256 of the four texts in sequence. Writes PROOF_BYTES to `out`, in hexadecimal digits."""
    cdef char text[256]
    cdef unsigned char digest[32]
    cdef unsigned int digest_bytes = 0
    cdef const char *parts[4]
    cdef size_t length = 0
    cdef int i
    parts[0], parts[1], parts[2], parts[3] = what, first, second, run_id    # at most 6 + 32 + 32 + 40 bytes
    for i in range(4):
        memcpy(&text[length], parts[i], strlen(parts[i]))
        length += strlen(parts[i])
    HMAC(EVP_sha256(), secret, SECRET_BYTES, <const unsigned char *>&text[0], length, digest, &digest_bytes)
    to_hex(digest, 32, out)


cdef inline bint proofs_equal(const char *a, size_t length, const char *b) noexcept nogil:
    """Compare a received proof with the computed one, in constant time."""
    return length == PROOF_BYTES - 1 and CRYPTO_memcmp(a, b, PROOF_BYTES - 1) == 0
