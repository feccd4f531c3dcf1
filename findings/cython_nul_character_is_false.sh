#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The character NUL is false, and a character may become a number, in a compiled function that declares no C type.
#
# Most expect: a character of a string is a string of length one, which is always true; only the empty string is false. Cython may
#     keep it as a C integer inside, as long as nobody sees that.
# What happens: a variable that only ever holds characters of what is annotated `str` is a C integer, Py_UCS4, and its truth that of the
#     number: "\0" is false. One that also begins with a number is inferred as a C number, and the last character becomes 99. An
#     element of `bytes` equals a string of one character, which it never does in Python.
# Version: Cython 3.3.1, 2026-11-30.
# Where it matters: scanners and parsers (`while character:`, `character or default`) compiled as they are, with input that has a NUL.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cython_3_3_1

compiled_and_interpreted <<'EOF'
def visible(text: str):
    return [character or "(none)" for character in text]

def without_annotation(text):
    return [character or "(none)" for character in text]

def last(text: str):
    found = -1
    for character in text:
        found = character
    return [found]

def letters_a(data: bytes):
    return sum(byte == "a" for byte in data)
EOF

echo "version: $(cython_version)"
echo "behaviour: functions whose argument is annotated str or bytes, as Python runs them and as Cython compiles them"
seen=$(cd "$tmp" && python - <<'EOF'
import compiled, interpreted

for function, argument in (("visible", "a\0"), ("without_annotation", "a\0"), ("last", "abc"), ("letters_a", b"abc")):
    print(f"{function}({argument!r}): {getattr(interpreted, function)(argument)}, compiled {getattr(compiled, function)(argument)}")
EOF
)
verdict "$seen" "visible('a\x00'): ['a', '\x00'], compiled ['a', '(none)']
without_annotation('a\x00'): ['a', '\x00'], compiled ['a', '\x00']
last('abc'): ['c'], compiled [99]
letters_a(b'abc'): 0, compiled 1"
