# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: settings, and what a starting server reads from its files."""

include "aof_replay.pxi"
include "aof_cut.pxi"
include "rdb_position.pxi"
include "checkpoint_recovery.pxi"
include "settings.pxi"
include "startup.pxi"
