# SPDX-License-Identifier: Apache-2.0
"""Cases of vector sets, which are a module inside of Redis 8. Their names are in upper case."""

from commands.case import make

SOME = ["VADD v VALUES 2 1 0 a NOQUANT", "VADD v VALUES 2 0 1 b NOQUANT", "VADD v VALUES 2 1 1 c NOQUANT"]

CASES = make({
    "VADD": [*SOME, "VADD v VALUES 2 1 0 a NOQUANT", "VADD v VALUES 3 1 0 0 d", "VCARD v"],
    "VCARD": [*SOME, "VCARD v", "VCARD nope"],
    "VDIM": [*SOME, "VDIM v"],
    "VEMB": [*SOME, "VEMB v a", "VEMB v nope"],
    "VGETATTR": [*SOME, "VGETATTR v a"],
    "VINFO": [*SOME, "VINFO v  # kind"],
    "VISMEMBER": [*SOME, "VISMEMBER v a", "VISMEMBER v nope"],
    "VLINKS": [*SOME, "VLINKS v a  # kind"],
    "VRANDMEMBER": ["VADD v VALUES 2 1 0 a", "VRANDMEMBER v", "VRANDMEMBER nope"],
    "VREM": [*SOME, "VREM v a", "VREM v nope", "VCARD v"],
    "VSETATTR": [*SOME, "VSETATTR v a '{\"year\":1}'", "VGETATTR v a", "VSETATTR v nope {}"],
    "VSIM": [*SOME, "VSIM v VALUES 2 1 0.1 COUNT 2", "VSIM v ELE b COUNT 1 WITHSCORES"],
}, ("redis-8.2",))  # fmt: skip
