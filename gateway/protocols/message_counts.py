"""Protobuf messages that would take many times their size in memory are refused before they are parsed."""

from __future__ import annotations

from typing import Final

from adapters.errors import InvalidInput

_LARGE_BYTES: Final = 1 << 20
_MAX_FIELDS: Final = 1 << 16


def check_fields(data: bytes) -> None:
    """Count a large message's fields, where an empty one takes two bytes on the wire and a hundred in memory.

    What is no protobuf is left to the parser.

    Raises:
        InvalidInput: it has more fields than any request needs.
    """
    if len(data) <= _LARGE_BYTES:
        return
    offset, fields = 0, 0
    while 0 <= offset < len(data):
        fields += 1
        if fields > _MAX_FIELDS:
            raise InvalidInput(
                f"message: expected at most {_MAX_FIELDS} fields, got more; send fewer tensors at a time"
            )
        offset = _next(data, offset)


def _next(data: bytes, offset: int) -> int:
    """Where the field after the one at `offset` begins; -1 where that cannot be said."""
    tag, offset = _varint(data, offset)
    match tag & 7:
        case 0:
            return _varint(data, offset)[1]
        case 1:
            return offset + 8
        case 2:
            length, offset = _varint(data, offset)
            return offset + length if offset >= 0 else -1
        case 5:
            return offset + 4
    return -1


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while 0 <= offset < len(data) and shift < 70:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    return 0, -1
