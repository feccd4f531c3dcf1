# SPDX-License-Identifier: Apache-2.0
"""INFO keyspace, of all servers that members run on."""

import pytest

from core_extension.core import KeyspaceInfo, keyspace_info

NOTHING = KeyspaceInfo(0, False, 0, 0)


@pytest.mark.parametrize(("line", "expected"), [
    ("", NOTHING),
    ("db0:keys=3,expires=0,avg_ttl=0", KeyspaceInfo(3, False, 0, 0)),
    ("db0:keys=3,expires=2,avg_ttl=901", KeyspaceInfo(3, False, 2, 0)),
    ("db0:keys=12345678901,expires=10,avg_ttl=0", KeyspaceInfo(12345678901, False, 10, 0)),
    # Redis 7.4 and later
    ("db0:keys=3,expires=0,avg_ttl=0,subexpiry=0", KeyspaceInfo(3, False, 0, 0)),
    ("db0:keys=3,expires=0,avg_ttl=0,subexpiry=2", KeyspaceInfo(3, False, 0, 2)),
    # Valkey 9 and later
    ("db0:keys=3,expires=0,avg_ttl=0,keys_with_volatile_items=0", KeyspaceInfo(3, False, 0, 0)),
    ("db0:keys=3,expires=0,keys_with_volatile_items=1,avg_ttl=0", KeyspaceInfo(3, False, 0, 1)),
    # Other databases, however many there are
    ("db1:keys=1,expires=0,avg_ttl=0", KeyspaceInfo(1, True, 0, 0)),
    ("db10000:keys=1,expires=0,avg_ttl=0", KeyspaceInfo(1, True, 0, 0)),
    # What is none of these
    ("db0:keys=3,xexpires=9,expires_soon=9,subexpiry", KeyspaceInfo(3, False, 0, 0)),
    ("db0:", NOTHING), ("db0", NOTHING), ("db0:keys=", NOTHING), ("db0:keys=x", NOTHING), ("expires=4", NOTHING),
])  # fmt: skip
def test_a_line(line: str, expected: KeyspaceInfo) -> None:
    for text in [f"# Keyspace\r\n{line}\r\n", line, f"{line}\n", f"\r\n\r\n{line}"]:
        assert keyspace_info(text.encode()) == expected


def test_several_databases() -> None:
    text = b"# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\ndb7:keys=3,expires=1,avg_ttl=5,subexpiry=1\r\n"
    assert keyspace_info(text) == KeyspaceInfo(5, True, 2, 1)
