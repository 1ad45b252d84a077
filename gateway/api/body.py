"""A request's body, unpacked where it was packed, up to a limit."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from adapters.errors import InvalidInput
from gateway.errors import RequestTooLarge

_WINDOW_BITS: Final[Mapping[bytes, int]] = {
    b"gzip": zlib.MAX_WBITS | 16,
    b"x-gzip": zlib.MAX_WBITS | 16,
    b"deflate": zlib.MAX_WBITS,
}
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_AT_ONCE_BYTES: Final = 1 << 16
"""Packed bodies above this are unpacked in a thread: zlib gives up the GIL meanwhile."""


async def unpacked(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """A whole body without its Content-Encoding.

    Raises:
        RequestTooLarge: it is over the limit once unpacked.
        InvalidInput: its Content-Encoding is not taken, or it is not packed that way.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise InvalidInput(f"content-encoding: expected gzip or deflate, got {encoding.decode('latin-1')!r:.40}")
    if len(body) > _AT_ONCE_BYTES:
        return await asyncio.to_thread(unpack, body, encoding, max_bytes)
    return unpack(body, encoding, max_bytes)


def unpack(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """The bytes that `body` was packed from; at most one more than `max_bytes` are ever unpacked.

    Raises:
        RequestTooLarge: there are more.
        InvalidInput: it is not packed that way, or cut off.
    """
    name = encoding.decode()
    bits = _WINDOW_BITS[encoding]
    if encoding == b"deflate" and body[:1] and (body[0] & 0x0F != 8 or int.from_bytes(body[:2]) % 31):
        bits = _RAW_DEFLATE  # "deflate" is zlib's format (RFC 9110, 8.4.1.2), but some clients leave its head out
    unpacker = zlib.decompressobj(bits)
    try:
        unpacked = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput(f"body: expected {name}, as its content-encoding says: {error}") from None
    if len(unpacked) > max_bytes:
        raise RequestTooLarge(f"body: expected at most {max_bytes} bytes unpacked, got more")
    if not unpacker.eof:
        raise InvalidInput(f"body: it ends in the middle of its {name} data")
    if unpacker.unused_data:
        raise InvalidInput(f"body: {len(unpacker.unused_data)} bytes are left over after its {name} data")
    return unpacked
