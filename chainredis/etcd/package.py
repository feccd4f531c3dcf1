# SPDX-License-Identifier: Apache-2.0
"""The one import of python-etcd3: the messages that it is to use are put in place before."""

import sys

from chainredis.etcd import messages

sys.modules["etcd3.etcdrpc"] = messages

import etcd3  # noqa: E402
from etcd3 import etcdrpc, transactions  # noqa: E402
from etcd3.utils import increment_last_byte  # noqa: E402

__all__ = ["etcd3", "etcdrpc", "increment_last_byte", "transactions"]
