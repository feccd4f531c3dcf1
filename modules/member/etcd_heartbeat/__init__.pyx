# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""One compile unit: MEMBER.CONNECT_TO_MASTER and the loading of libheartbeat.so."""

include "command.pxi"
