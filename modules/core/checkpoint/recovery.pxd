# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A member's data comes from two places, its loaded memory and its checkpoint. This file says what they make together.

Both are prefixes of one history if the epochs agree in which their last updates were assigned. A checkpoint that cannot
be shown to be a prefix is not used. If it was needed, the member has lost its data.
"""

from libc.stdint cimport int64_t

from modules.core.chain cimport Chain
from modules.core.checkpoint.record_format cimport Meta, meta_epoch_of
from modules.core.log cimport log_epoch_of
from modules.core.view cimport same_history


cdef enum Recovery:
    RECOVERY_ANEW       # memory has everything; the checkpoint, if one is wanted, begins anew
    RECOVERY_BOTH       # as they are: what is newer than the checkpoint is known
    RECOVERY_AHEAD      # the checkpoint has everything, and is newer than memory, which goes
    RECOVERY_LOST       # neither has everything


cdef struct Loaded:
    # What memory is, according to the data that was loaded. The chain has its position.
    bint tracked            # with it came the keys that have updates newer than a checkpoint ...
    int64_t watermark       # ... of this watermark, or a higher one
    bint incomplete         # keys may be in that checkpoint alone, or memory has nothing at all
    bint others             # it has keys that are no strings, which no checkpoint has


cdef inline Recovery weigh_recovery(const Chain *c, const Loaded *loaded, const Meta *meta) noexcept nogil:
    """Without `meta.found` there is no checkpoint, or none that can be read."""
    if meta.found and c.has_history and same_history(c.history, meta.history):
        if meta.watermark <= c.applied:
            if (loaded.tracked and meta.watermark >= loaded.watermark
                    and meta_epoch_of(meta, meta.watermark) == log_epoch_of(&c.log, meta.watermark)):
                return RECOVERY_BOTH
        elif (not loaded.others and not meta.others
                and meta_epoch_of(meta, c.applied) == log_epoch_of(&c.log, c.applied)):
            return RECOVERY_AHEAD
    return RECOVERY_LOST if loaded.incomplete else RECOVERY_ANEW
