# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: the master's commands, joining, lifelines, and the member's status."""

include "branch.pxi"
include "lifeline.pxi"
include "fork.pxi"
include "joining.pxi"
include "info.pxi"
include "invariants.pxi"
include "master_commands.pxi"
include "traits.pxi"
include "second_ports.pxi"
include "status.pxi"
