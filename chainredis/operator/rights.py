# SPDX-License-Identifier: Apache-2.0
"""What members and masters run at a member: rights that their users need there (docs/operations.md, "Users"). Pure.

A copy or a repair needs commands that a quiet chain does not: a right that is missing shows only then.
"""

MEMBERS = (
    "ping", "psync", "replconf", "member.unheld", "chain.challenge", "chain.prove", "chain.allowed", "chain.idle",
    "chain.greet", "chain.forward", "chain.ack", "chain.adopt", "chain.checkpoint", "chain.flush", "chain.page",
    "chain.copy", "client|no-evict",
)  # fmt: skip
MASTERS = (
    "info", "chain.info", "member.unheld", "chain.state", "chain.challenge", "chain.prove", "chain.poll", "chain.watch",
    "chain.adopt", "chain.join", "chain.rejoin", "chain.branch", "chain.feed", "chain.pin", "chain.unpin",
    "chain.unjoin", "client|no-evict",
)  # fmt: skip
# ACL DRYRUN wants as many arguments as the command does.
ARGUMENTS = {"psync": ("?", "-1"), "client|no-evict": ("on",)}


def words(right: str) -> list[str]:
    """A command line for which the right is needed."""
    return [*right.split("|"), *ARGUMENTS.get(right, ())]
