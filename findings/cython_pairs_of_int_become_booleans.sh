#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# divmod(17, 5) is (True, True) in a Cython module that has a pair of truth values further up.
#
# Most expect: two functions of a module have nothing to do with each other; what one computes does not depend on the other's types.
# What happens: a tuple of C values becomes a C structure, and one conversion to Python is made for each. In C `bint` is an int, so
#     a pair of two bint has the same name as a pair of two int, and all pairs are converted as the first one in the module is:
#     numbers become True and False, or, if declared pairs come the other way round, truth values 1 and 0. No warning. Two comparisons
#     that one function returns, and divmod() of two C integers in another, are enough; so are two cdef functions that declare such
#     pairs. With other modules compiled in the same run of cythonize it may be right.
# Version: Cython 3.3.1 on Python 3.11, 2026-11-29; 3.2.1 and 3.1.4 behave alike, 3.0.12 only with declared pairs.
# Where it matters: counts and offsets that turn into 1 when somebody adds or moves another function; a test of that function
#     by itself passes. Pairs of `long` or `Py_ssize_t`, arrays, and C++'s vectors are right.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cython_3_3_1
cat >"$tmp/signs" <<'EOF'
def signs(int number):
    return number > 0, number < 0

EOF
cat >"$tmp/division" <<'EOF'
def division(int number, int by):
    return divmod(number, by)

EOF
cat "$tmp/division" >"$tmp/alone.pyx"
cat "$tmp/signs" "$tmp/division" >"$tmp/behind.pyx"
cat "$tmp/division" "$tmp/signs" >"$tmp/before.pyx"

echo "version: $(cython_version)"
echo "behaviour: a function that returns divmod(17, 5) of C integers, alone in a module, behind and before one that returns two comparisons"
for module in alone behind before; do
    compile_cython "$module.pyx"
done
seen=$(cd "$tmp" && python - <<'EOF'
import alone, before, behind

print(f"alone: {alone.division(17, 5)}")
print(f"behind signs(): {behind.division(17, 5)}, signs(17) is {behind.signs(17)}")
print(f"before signs(): {before.division(17, 5)}, signs(17) is {before.signs(17)}")
EOF
)
verdict "$seen" "alone: (3, 2)
behind signs(): (True, True), signs(17) is (True, False)
before signs(): (3, 2), signs(17) is (True, False)"
