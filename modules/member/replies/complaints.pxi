# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Log lines for failures that repeat. A new reason is logged at once. The same reason is logged again every
# SILENCE_MS, with the number of failures since the last line.
#
# Two reasons that alternate would fill the log as well, so the number of new reasons is limited, too.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport strncmp

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModule_Log
from modules.member.state.complaint cimport Complaint, ERROR_BYTES

cdef enum:
    SILENCE_MS = 10000          # the time before the same reason is logged again
    REASONS = 4                 # the number of new reasons that are logged within SILENCE_MS


cdef bint is_worth_a_line(Complaint *complaint, const char *why, int64_t now_ms) noexcept nogil:
    """Returns whether the failure `why` must be logged now."""
    if strncmp(complaint.why, why, ERROR_BYTES - 1) == 0:
        return now_ms - complaint.said_ms >= SILENCE_MS
    if now_ms - complaint.since_ms >= SILENCE_MS:
        complaint.since_ms = now_ms
        complaint.reasons = 0
    complaint.reasons += 1
    return complaint.reasons <= REASONS


cdef void complain(
    RedisModuleCtx *ctx, Complaint *complaint, int64_t now_ms, const char *what, const char *why,
) noexcept nogil:
    """Log that `what` fails because of `why`, unless that has been logged lately.

    `what` must be the same text for each failure of one kind.
    """
    if not is_worth_a_line(complaint, why, now_ms):
        complaint.unsaid += 1
        return
    if complaint.unsaid:
        RedisModule_Log(ctx, "notice", "%s: %s (%llu more failures since the last line)", what, why, complaint.unsaid)
    else:
        RedisModule_Log(ctx, "notice", "%s: %s", what, why)
    snprintf(complaint.why, ERROR_BYTES, "%s", why)
    complaint.said_ms = now_ms
    complaint.unsaid = 0


cdef void stop_complaining(Complaint *complaint) noexcept nogil:
    """The operation has succeeded: the next failure counts as new."""
    complaint.why[0] = 0
    complaint.unsaid = 0
