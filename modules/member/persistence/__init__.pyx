# cython: language_level=3
"""What is on the disk: the append-only file, its durability, the identity file: one compile unit."""

include "aof_writer.pxi"
include "identity_file.pxi"
include "durability.pxi"
