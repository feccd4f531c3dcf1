# SPDX-License-Identifier: Apache-2.0
"""Chain Replicated Redis: the part of it that is ordinary Python.

`client` is what applications import. `protocol` is the master's side of the protocol, without I/O. `coordinator` runs
it inside a server, over `transport` and `storage`; `etcd` does so with several masters. `local_cluster`, `cli` and
`benchmarks` start chains of real servers; `checkpoint_tool` and `backup` read what members have written.
docs/architecture.md tells more.
"""
