# SPDX-License-Identifier: Apache-2.0
"""etcd's messages and stubs, in the place of python-etcd3's own module `etcd3.etcdrpc`.

The code in python-etcd3 was generated for protobuf below 4, which gets no more fixes. `etcd_pb2.py` is generated from
`etcd.proto` by protoc 25, whose code runs with every protobuf from 4.21 on. Code of a later one refuses to run with a
protobuf that is older than that protoc, and another package may need one. The stubs are made from the services that the
file describes.
"""

from typing import Any

from chainredis.etcd.messages import etcd_pb2
from chainredis.etcd.messages.etcd_pb2 import *  # noqa: F403 - the names of messages, as `etcd3.etcdrpc` has them


def _stub(service: Any) -> type:
    """A class of which `Stub(channel).Method(request, timeout, …)` calls the service, as grpc's generator makes it."""

    def connect(stub: Any, channel: Any) -> None:
        for method in service.methods:
            kind = channel.stream_stream if method.client_streaming else channel.unary_unary
            call = kind(
                f"/{service.full_name}/{method.name}",
                request_serializer=getattr(etcd_pb2, method.input_type.name).SerializeToString,
                response_deserializer=getattr(etcd_pb2, method.output_type.name).FromString,
            )
            setattr(stub, method.name, call)

    return type(f"{service.name}Stub", (), {"__init__": connect})


for _service in etcd_pb2.DESCRIPTOR.services_by_name.values():
    globals()[f"{_service.name}Stub"] = _stub(_service)
