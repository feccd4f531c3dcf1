# SPDX-License-Identifier: Apache-2.0
"""Servers and chains on this machine, for `make run`, the tests and the benchmarks."""
