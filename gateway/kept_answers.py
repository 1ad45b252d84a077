"""Answers that are kept, to be given again to equal requests: a key for each request, and a bounded store."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType

import numpy as np

from adapters.tensors import DataType, Tensor, Tensors, to_bytes
from gateway.statistics import Load

_KEY_BYTES = 16
_SHARE = 4
"""One answer takes up no more than this part of the store: a few huge ones would push out all others."""

_ENTRY_BYTES = 600
_TENSOR_BYTES = 250
_ELEMENT_BYTES = 41  # a pointer, and the head of a bytes object


class Keys:
    """Gives requests for one content of one deployment keys that are equal where the requests are.

    A key is a digest over the content's own and, of each input, name, datatype, shape and every bit; in which order the
    inputs came does not matter.
    """

    def __init__(self, content: str) -> None:
        """`content` stands for all that decides what an input's answer is."""
        self._begun = blake2b(_framed(content.encode()), digest_size=_KEY_BYTES)

    def key(self, inputs: Tensors) -> bytes:
        """The key of a request; it takes about a millisecond for each megabyte."""
        digest = self._begun.copy()
        for name in sorted(inputs):
            tensor = inputs[name]
            head = f"{DataType.of(tensor.dtype)} {tensor.shape}".encode()
            digest.update(_framed(name.encode()) + _framed(head))
            digest.update(to_bytes(tensor))  # where it ends, its head and the lengths of its elements say
        return digest.digest()


def _framed(part: bytes) -> bytes:
    return struct.pack("<Q", len(part)) + part


class KeptAnswers:
    """The answers used last, of one content of one deployment, `max_bytes` of them at most with all that they take."""

    def __init__(self, content: str, max_bytes: int) -> None:
        self.content = content
        self.max_bytes = max_bytes
        self._answers: OrderedDict[bytes, tuple[Mapping[str, Tensor], int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def load(self) -> Load:
        """How many bytes the answers take."""
        return Load(kept_bytes=self._bytes)

    def get(self, key: bytes) -> Tensors | None:
        """The answer that is kept under a key; its arrays cannot be written to."""
        found = self._answers.get(key)
        if found is None:
            return None
        self._answers.move_to_end(key)
        return found[0]

    def keep(self, key: bytes, outputs: Tensors) -> None:
        """Keep copies of an answer's tensors, and drop the answers that were not used for longest to make room.

        An answer that would take more than a quarter of the store is not kept.
        """
        size = _size_bytes(outputs)
        if size > self.max_bytes // _SHARE:
            return
        if earlier := self._answers.pop(key, None):
            self._bytes -= earlier[1]
        while self._bytes + size > self.max_bytes:
            self._bytes -= self._answers.popitem(last=False)[1][1]
        # A copy: what came may be a view of a frame that holds the answers of a whole batch.
        copies = {name: _copy(tensor) for name, tensor in outputs.items()}
        self._answers[key] = MappingProxyType(copies), size
        self._bytes += size


def _copy(tensor: Tensor) -> Tensor:
    copy = np.array(tensor, order="C")
    copy.flags.writeable = False
    return copy


def _size_bytes(outputs: Tensors) -> int:
    size = _ENTRY_BYTES
    for name, tensor in outputs.items():
        size += _TENSOR_BYTES + len(name)
        if tensor.dtype.hasobject:
            size += sum(_ELEMENT_BYTES + len(element) for element in tensor.flat)
        else:
            size += tensor.nbytes
    return size
