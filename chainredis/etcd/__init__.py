"""Views, leadership and heartbeats in etcd. What the rest of the project knows nothing of is all in here."""

import os

# Before grpc is loaded: the server forks for its snapshots, and a child needs none of this; errors are ours to report.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
