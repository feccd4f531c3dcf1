# cython: language_level=3
"""The master's orders, joining, and what a member tells of itself: one compile unit."""

include "branch.pxi"
include "lifeline.pxi"
include "fork.pxi"
include "joining.pxi"
include "info.pxi"
include "invariants.pxi"
include "master_commands.pxi"
include "status.pxi"
