# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The gate: clients' requests and replies pass through a thread that holds replies until they are committed.

One compile unit. `messages.pxi` is what the main thread and the gate's thread say to each other. `relay.pxi`,
`attention.pxi`, `knocking.pxi` and `thread.pxi` run on the gate's thread, all others on the main thread.
"""

include "messages.pxi"
include "relay.pxi"
include "attention.pxi"
include "knocking.pxi"
include "thread.pxi"
include "server_loop.pxi"
include "swap.pxi"
include "control.pxi"
include "clients.pxi"
include "info.pxi"
