#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# In an etcd transaction the value of a key that does not exist is neither equal nor unequal to anything.
#
# Most expect: `value(key) != "x"` holds when there is no such key; at least one of `== "x"` and `!= "x"` always holds,
#     and the branch of a failed `==` is the branch of `!=`. With version, create_revision and mod_revision it is so:
#     those of a missing key are 0.
# What happens: each comparison with the value of a missing key fails: ==, !=, <, >, and == "" as well.
# Version: etcd 3.5.1 with python-etcd3 0.12.0, 2026-11-28; etcd 3.4.23 behaves alike.
# Where it matters: "write unless it says x already" and compare-and-set on a key that may be missing: the write is
#     silently left out. One has to compare version == 0 as well.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client
start etcd-3.5.1 "$port"

echo "version: $(version etcd-3.5.1)"
echo "behaviour: of six comparisons with a missing key's value none holds, but its version is 0"
seen=$(python - "$port" <<'EOF'
import sys
import etcd3

client = etcd3.client(port=int(sys.argv[1]))
value = client.transactions.value("missing")
version = client.transactions.version("missing")
comparisons = {
    'value == "x"': value == "x", 'value != "x"': client.transactions.value("missing") != "x",
    'value < "x"': client.transactions.value("missing") < "x", 'value > "x"': client.transactions.value("missing") > "x",
    'value == ""': client.transactions.value("missing") == "", 'value != ""': client.transactions.value("missing") != "",
    "version == 0": version == 0, "version != 0": client.transactions.version("missing") != 0,
}
for text, comparison in comparisons.items():
    holds, _ = client.transaction(compare=[comparison], success=[], failure=[])
    print(f"{text}: {holds}")
EOF
)
verdict "$seen" 'value == "x": False
value != "x": False
value < "x": False
value > "x": False
value == "": False
value != "": False
version == 0: True
version != 0: False'
