"""The messages of the protocols that come without a package of their own, made of the .proto files beside this one.

They live in a pool of their own: other people's copies of the same messages (tritonclient's) may be imported into the
same process. `make protos` compiles them.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS: Final = "protos.binpb"
"""Compiled files, as protoc's descriptor set."""


def _load() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    compiled = descriptor_pb2.FileDescriptorSet.FromString(files(__name__).joinpath(DESCRIPTORS).read_bytes())
    for file in compiled.file:
        pool.Add(file)
    return pool


POOL: Final = _load()


def message(name: str) -> Any:
    """The class of a message, by its full name (`inference.ModelInferRequest`); raises KeyError."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))
