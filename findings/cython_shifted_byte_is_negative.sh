#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A byte of an argument that is annotated `bytes` turns negative when it is shifted, and 2 to its power is 0, without a C type anywhere.
#
# Most expect: Cython computes with Python's integers until somebody declares a C type; of what it infers by itself it says that it
#     is safe from overflow. The annotation `bytes` says that the argument is bytes.
# What happens: an element of what is known to be bytes is a C `unsigned char`, an element's shift or product a C `int` of 32 bits, and
#     a length a C `Py_ssize_t`; they overflow silently. A length field of four bytes is negative from 2 GiB on, one of eight is wrong.
#     The same function without the annotation computes as Python does.
# Version: Cython 3.3.1, 2026-11-30.
# Where it matters: modules of Python that are compiled as they are: parsers of binary formats, hashes and checksums, which pass
#     each test with small bytes. int(data[0]) or int.from_bytes(data, "big") helps.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cython_3_3_1

compiled_and_interpreted <<'EOF'
def length_field(data: bytes):
    return data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]

def power(data: bytes):
    return [2 ** byte for byte in data]

def products(data: bytes):
    return [byte * byte * byte * byte for byte in data]

def combinations(letters: str):
    return len(letters) ** 20

def without_annotation(data):
    return data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]
EOF

echo "version: $(cython_version)"
echo "behaviour: functions whose arguments are annotated bytes or str, as Python runs them and as Cython compiles them"
seen=$(cd "$tmp" && python - <<'EOF'
import compiled, interpreted

for function, argument in (
    ("length_field", b"\x7f\0\0\0"), ("length_field", b"\x80\0\0\0"), ("power", b"ab"), ("products", b"\xff"),
    ("combinations", "abcdefghijklmnop"), ("without_annotation", b"\x80\0\0\0"),
):
    print(f"{function}({argument!r}): {getattr(interpreted, function)(argument)}, compiled {getattr(compiled, function)(argument)}")
EOF
)
verdict "$seen" "length_field(b'\x7f\x00\x00\x00'): 2130706432, compiled 2130706432
length_field(b'\x80\x00\x00\x00'): 2147483648, compiled -2147483648
power(b'ab'): [158456325028528675187087900672, 316912650057057350374175801344], compiled [0, 0]
products(b'\xff'): [4228250625], compiled [-66716671]
combinations('abcdefghijklmnop'): 1208925819614629174706176, compiled 0
without_annotation(b'\x80\x00\x00\x00'): 2147483648, compiled 2147483648"
