# cython: language_level=3
"""The room of MEMBER.CONNECT_TO_MASTER: one compile unit."""

include "command.pxi"
