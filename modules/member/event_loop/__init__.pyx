# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What the event loop does in each pass, at each tick, and on events of the server: one compile unit."""

include "tick.pxi"
include "one_pass.pxi"
include "server_events.pxi"
