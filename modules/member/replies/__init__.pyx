# cython: language_level=3
"""What clients are told, when it is decided: one compile unit."""

include "answer.pxi"
include "blocked_clients.pxi"
include "refusals.pxi"
include "replies.pxi"
