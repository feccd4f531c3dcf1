# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of hiredis's TLS that is used here. Extern only."""

from modules.bindings.hiredis cimport redisContext
from modules.bindings.libssl cimport SSL

cdef extern from "hiredis_ssl.h" nogil:
    int redisInitiateSSL(redisContext *, SSL *)     # REDIS_OK: redisFree of the context frees the SSL, too
