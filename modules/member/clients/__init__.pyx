# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: the commands of clients, which are writes, reads, checkpoints and flushes."""

include "checkpoint_commands.pxi"
include "reads.pxi"
include "native_wait.pxi"
include "numbered_writes.pxi"
include "once.pxi"
include "writes.pxi"
include "view_question.pxi"
include "direct_clients.pxi"
include "direct_requests.pxi"
