# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: the links between members, the messages on them, the handshake and view changes."""

include "handshake.pxi"
include "link.pxi"
include "view_change.pxi"
include "messages.pxi"
include "outbound.pxi"
include "inbound.pxi"
include "direct_peers.pxi"
