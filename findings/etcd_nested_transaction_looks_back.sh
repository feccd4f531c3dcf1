#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The conditions of an etcd transaction within a transaction do not see what the outer one has just written.
#
# Most expect: operations of a transaction are carried out in order, each on what those before it left: a read after a put sees the
#     put. A nested transaction is such an operation, so its conditions see the put, too.
# What happens: etcd decides all conditions, nested ones too, before it carries out the first operation. A nested transaction takes
#     the branch that was right before, while a read inside that very branch gives the new value.
# Version: etcd 3.5.1, 2026-11-29; etcd 3.5.16 behaves alike.
# Where it matters: "count up, and if that reached the limit, then ...", or transactions that are composed of others.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

etcd_and_client
start etcd-3.5.1 "$port"

echo "version: $(version etcd-3.5.1)"
echo "behaviour: a transaction puts \"new\" over \"old\", reads that, and has a nested transaction compare and read it"
seen=$(python - "$port" <<'EOF'
import sys
import etcd3
from etcd3 import etcdrpc

client = etcd3.client(port=int(sys.argv[1]))
client.put("key", "old")

READ = etcdrpc.RequestOp(request_range=etcdrpc.RangeRequest(key=b"key"))
PUT = etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(key=b"key", value=b"new"))

def value(response: etcdrpc.ResponseOp) -> str:
    return response.response_range.kvs[0].value.decode()

for compared in "old", "new":
    client.put("key", "old")
    condition = etcdrpc.Compare(
        target=etcdrpc.Compare.VALUE, result=etcdrpc.Compare.EQUAL, key=b"key", value=compared.encode()
    )
    nested = etcdrpc.TxnRequest(compare=[condition], success=[READ], failure=[READ])
    outer = client.kvstub.Txn(etcdrpc.TxnRequest(success=[PUT, READ, etcdrpc.RequestOp(request_txn=nested)]), 10)
    _, read, inner = outer.responses
    print(f"read: {value(read)}; nested, equal to \"{compared}\": {inner.response_txn.succeeded}; read there: {value(inner.response_txn.responses[0])}")
EOF
)
verdict "$seen" 'read: new; nested, equal to "old": True; read there: new
read: new; nested, equal to "new": False; read there: new'
