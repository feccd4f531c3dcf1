# cython: language_level=3
"""What clients ask for: writes, reads, checkpoints: one compile unit."""

include "checkpoint_commands.pxi"
include "reads.pxi"
include "writes.pxi"
