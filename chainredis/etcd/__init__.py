# SPDX-License-Identifier: Apache-2.0
"""Configurations, leadership and heartbeats in etcd. Nothing else in this project knows etcd."""

import os

# Set before grpc is loaded. The server forks for its snapshots, and the child uses no grpc. Errors are reported here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
