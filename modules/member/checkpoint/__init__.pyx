# cython: language_level=3
"""Checkpoints: worker threads, the database, and the main thread's side: one compile unit."""

include "database.pxi"
include "batches.pxi"
include "worker.pxi"
include "compaction.pxi"
include "eviction.pxi"
include "pages.pxi"
include "reader.pxi"
include "store.pxi"
include "writer.pxi"
include "scheduler.pxi"
include "transfer.pxi"
