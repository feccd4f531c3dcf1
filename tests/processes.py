# SPDX-License-Identifier: Apache-2.0
"""Processes that a test did not start itself, so that it is not told of their end."""

import psutil


def has_ended(pid: int) -> bool:
    """A zombie has ended, too: nobody may be there to ask for its status."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
