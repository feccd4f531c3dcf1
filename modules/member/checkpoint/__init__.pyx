# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: worker threads, the database, and what the main thread does for them: one compile unit."""

include "database.pxi"
include "values.pxi"
include "batches.pxi"
include "worker.pxi"
include "compaction.pxi"
include "gathering.pxi"
include "eviction.pxi"
include "pages.pxi"
include "reader.pxi"
include "store.pxi"
include "writer.pxi"
include "scheduler.pxi"
include "transfer.pxi"
