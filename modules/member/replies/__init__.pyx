# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Replies to clients: blocked clients, errors, and what a commit causes: one compile unit."""

include "complaints.pxi"
include "answer.pxi"
include "blocked_clients.pxi"
include "refusals.pxi"
include "direct_replies.pxi"
include "publish.pxi"
include "replies.pxi"
