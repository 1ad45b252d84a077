"""Protobuf messages that would take many times their size in memory are refused before they are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from adapters.errors import InvalidInput

_LARGE_BYTES: Final = 1 << 20
_MAX_FIELDS: Final = 1 << 18


def check_fields(data: bytes, descriptor: Any = None) -> None:
    """Count a large message's fields, where an empty one takes two bytes on the wire and a hundred in memory.

    `descriptor` is the message's: with it, the messages inside are counted too. What is no protobuf is left to the
    parser.

    Raises:
        InvalidInput: it has more fields than any request needs.
    """
    if len(data) <= _LARGE_BYTES:
        return
    fields = 0
    pending = [(0, len(data), descriptor)]
    while pending:
        offset, end, kind = pending.pop()
        inside = _messages(kind) if kind is not None else {}
        while 0 <= offset < end:
            fields += 1
            if fields > _MAX_FIELDS:
                raise InvalidInput(f"message: expected at most {_MAX_FIELDS} fields, got more; send fewer at a time")
            tag, content = _varint(data, offset)
            offset, begin = _next(data, tag, content)
            if tag >> 3 in inside and begin < offset <= end:
                pending.append((begin, offset, inside[tag >> 3]))


@lru_cache(maxsize=1024)
def _messages(descriptor: Any) -> Mapping[int, Any]:
    """The descriptors of a message's fields that are messages themselves, by number."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _next(data: bytes, tag: int, offset: int) -> tuple[int, int]:
    """Where the next field begins, -1 where that cannot be said, and where the bytes of this one do."""
    match tag & 7:
        case 0:
            return _varint(data, offset)[1], offset
        case 1:
            return offset + 8, offset
        case 2:
            length, offset = _varint(data, offset)
            return (offset + length if offset >= 0 else -1), offset
        case 5:
            return offset + 4, offset
    return -1, offset


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while 0 <= offset < len(data) and shift < 70:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    return 0, -1
