"""Servers and chains on this machine, for `make run`, the tests and the benchmarks."""
