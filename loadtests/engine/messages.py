"""Messages on a pipe: msgpack behind its length, four bytes, big-endian."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

LENGTH_BYTES: Final = 4

_Message = TypeVar("_Message")
_encode = msgspec.msgpack.Encoder().encode


def pack(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    encoded = _encode(message)
    return len(encoded).to_bytes(LENGTH_BYTES) + encoded


class Unpacker(Generic[_Message]):
    """Messages out of bytes that come in any pieces."""

    def __init__(self, kind: Any) -> None:
        """`kind` is a struct, or a union of tagged ones."""
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._received = bytearray()

    def feed(self, data: bytes) -> list[_Message]:
        """The messages that are whole now; raises msgspec.ValidationError where one is none of its kind."""
        received = self._received
        received += data
        messages: list[_Message] = []
        while len(received) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(received[:LENGTH_BYTES])
            if len(received) < end:
                break
            messages.append(self._decoder.decode(received[LENGTH_BYTES:end]))
            del received[:end]
        return messages
