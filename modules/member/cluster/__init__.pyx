# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: a member as a node of a Redis Cluster, for clients that find the head so."""

include "keys_in_slot.pxi"
include "commands.pxi"
