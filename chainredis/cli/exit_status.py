# SPDX-License-Identifier: Apache-2.0
"""What the command line ends with: one scheme for all subcommands (docs/operations.md, "The command line")."""

from enum import IntEnum


class ExitStatus(IntEnum):
    WELL = 0  # it is done; all is well
    NOT_WELL = 1  # it is refused, or has failed; something is wrong with what was looked at
    USAGE = 2  # argparse's, for a command line that it does not understand
    UNREACHABLE = 3  # a server cannot be asked, so nothing is known
    INTERRUPTED = 130  # by Ctrl-C, as in a shell
