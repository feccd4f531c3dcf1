# SPDX-License-Identifier: Apache-2.0
"""What people are told when TLS has failed."""

import ssl

import pytest

from chainredis.transport.tls import why


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF"), ssl.SSLError(5, "[SYS] unknown error")],
                         ids=["ended", "reset"])  # fmt: skip
def test_a_connection_that_is_gone_may_have_been_refused(error: ssl.SSLError) -> None:
    """Who refuses a certificate may say so, but what is on its way may be lost when the connection is reset."""
    error.library = "SYS" if error.errno == 5 else "SSL"
    assert "does it want another certificate" in why(error)


def test_a_reason_is_told() -> None:
    error = ssl.SSLError(1, "[SSL: UNKNOWN_CA] unknown ca")
    error.library, error.reason = "SSL", "UNKNOWN_CA"
    assert why(error) == "TLS: unknown ca"
