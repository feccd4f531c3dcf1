# cython: language_level=3
"""The server's data and settings: what may touch them while it is in a chain: one compile unit."""

include "redis_role.pxi"
include "command_filter.pxi"
include "data_loss.pxi"
include "join_preconditions.pxi"
include "redis_settings.pxi"
