# SPDX-License-Identifier: Apache-2.0
"""Where a run's random searches begin: elsewhere each time, unless SIM_SEED says where."""

from __future__ import annotations

import os
import secrets

GIVEN = os.environ.get("SIM_SEED")
# The workers of one run inherit where it begins.
SEED = int(GIVEN or os.environ.setdefault("SIM_BEGIN", str(secrets.randbelow(1 << 32))))


def seeds(walks: int) -> range:
    """Of so many walks; of the one that SIM_SEED names."""
    return range(SEED, SEED + (1 if GIVEN else max(1, walks)))
