# cython: language_level=3
"""What happens when the server starts: settings, and what its files hold: one compile unit."""

include "aof_replay.pxi"
include "rdb_position.pxi"
include "checkpoint_recovery.pxi"
include "settings.pxi"
include "startup.pxi"
