# cython: language_level=3
"""Links between members: outbound, inbound, the handshake, and views: one compile unit."""

include "complaints.pxi"
include "handshake.pxi"
include "link.pxi"
include "view_change.pxi"
include "outbound.pxi"
include "inbound.pxi"
