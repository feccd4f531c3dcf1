# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The files of a member: records in the append-only file, durability, the identity file: one compile unit."""

include "data_position.pxi"
include "aof_writer.pxi"
include "identity_file.pxi"
include "durability.pxi"
