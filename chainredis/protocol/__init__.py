# SPDX-License-Identifier: Apache-2.0
"""The master's side of the protocol. Pure: no I/O, no clock, no thread."""
