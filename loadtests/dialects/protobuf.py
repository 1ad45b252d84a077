"""Protobuf by hand: a library's messages would have to be compiled, and these are few."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from loadtests.dialects.reply import WrongAnswer

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES: Final = 10
_WORD: Final = 1 << 64


def varint(number: int) -> bytes:
    """A number as it is written; a negative one as its two's complement of 64 bits."""
    number %= _WORD
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def number_field(field: int, value: int) -> bytes:
    """A field of a number."""
    return varint(field << 3 | _VARINT) + varint(value)


def bytes_field(field: int, content: bytes) -> bytes:
    """A field of bytes, a text or a message."""
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def packed_field(field: int, numbers: Iterable[int]) -> bytes:
    """A field of repeated numbers."""
    return bytes_field(field, b"".join(map(varint, numbers)))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in order, numbers or bytes (of fixed width: their bytes); raises WrongAnswer."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == _VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(key & 7)
        if size is None:
            if key & 7 != _BYTES:
                raise WrongAnswer(f"this is no message of protobuf: a field of the wire type {key & 7}")
            size, at = _varint(message, at)
        if at + size > len(message):
            raise WrongAnswer("this is no message of protobuf: a field goes beyond its end")
        yield key >> 3, message[at : at + size]
        at += size


def nested(content: int | bytes) -> bytes:
    """A field's content that has to be bytes; raises WrongAnswer."""
    if isinstance(content, int):
        raise WrongAnswer("this is no message of protobuf: a number where bytes are expected")
    return content


def integers(content: int | bytes) -> list[int]:
    """Repeated whole numbers, packed or one by one, of 64 bits with their sign."""
    if isinstance(content, int):
        return [_signed(content)]
    numbers, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        numbers.append(_signed(number))
    return numbers


def floats(content: int | bytes, code: str) -> list[float]:
    """Repeated numbers of fixed width, packed or one by one: `f` or `d`; raises WrongAnswer."""
    try:
        return [number for (number,) in struct.iter_unpack("<" + code, nested(content))]
    except struct.error as error:
        raise WrongAnswer(f"this is no message of protobuf: {error}") from None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends; raises WrongAnswer."""
    number = shift = 0
    for byte in message[at : at + _VARINT_BYTES]:
        number |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return number % _WORD, at
    raise WrongAnswer("this is no message of protobuf: a number goes beyond its end")


def _signed(number: int) -> int:
    return number - _WORD if number >> 63 else number
