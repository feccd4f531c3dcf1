# SPDX-License-Identifier: Apache-2.0
"""What people are told when TLS has failed."""

import ssl

import pytest

from chainredis.transport.tls import Tls, why


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF"), ssl.SSLError(5, "[SYS] unknown error")],
                         ids=["ended", "reset"])  # fmt: skip
def test_a_connection_that_is_gone_may_have_been_refused(error: ssl.SSLError) -> None:
    """Who refuses a certificate may say so, but what is on its way may be lost when the connection is reset."""
    error.library = "SYS" if error.errno == 5 else "SSL"
    assert "wants another certificate" in why(error)


def test_a_reason_of_our_own_is_told_as_it_is() -> None:
    assert why(ssl.SSLError("no answer in time")) == "TLS: no answer in time"


def test_a_file_that_cannot_be_used_is_named() -> None:
    with pytest.raises(OSError, match=r"^TLS: cannot use /nowhere/ca.crt: \[Errno 2\] No such file"):
        Tls("/nowhere/ca.crt").context()


def test_a_reason_is_told() -> None:
    error = ssl.SSLError(1, "[SSL: UNKNOWN_CA] unknown ca")
    error.library, error.reason = "SSL", "UNKNOWN_CA"
    assert why(error) == "TLS: unknown ca"
