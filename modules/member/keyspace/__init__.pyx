# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Values, commands and settings of the server, as membership in a chain restricts them: one compile unit."""

include "redis_role.pxi"
include "command_filter.pxi"
include "caches.pxi"
include "data_loss.pxi"
include "join_preconditions.pxi"
include "redis_settings.pxi"
include "direct_reading.pxi"
