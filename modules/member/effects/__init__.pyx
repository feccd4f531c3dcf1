# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: the tap at the head, the pseudo-master elsewhere, and the server's role in Redis's replication."""

include "own_address.pxi"
include "tap.pxi"
include "pseudo_master.pxi"
include "copy_relay.pxi"
include "server_role.pxi"
include "output.pxi"
