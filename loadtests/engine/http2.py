"""Frames of HTTP/2 (RFC 9113) and literals of HPACK (RFC 7541), as far as a client of gRPC needs them."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 4, 5
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
CANCEL: Final = 8
METHOD_POST, SCHEME_HTTP = b"\x83", b"\x86"
"""Of HPACK's static table."""

LARGEST_WINDOW: Final = 2**31 - 1
FIRST_WINDOW: Final = 65535
FIRST_FRAME_BYTES: Final = 1 << 14
LARGEST_FRAME_BYTES: Final = (1 << 24) - 1
HEAD_BYTES: Final = 9


class NotHttp2(Exception):
    """The server sent what no client can go on from."""


def frame_head(length: int, kind: int, flags: int) -> bytes:
    """A frame's head but for the stream."""
    return struct.pack(">I", length)[1:] + bytes((kind, flags))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return frame_head(len(payload), kind, flags) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field that no table has or keeps."""
    return b"\0" + _string(name.encode()) + _string(value.encode())


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    left, length = len(text) - 127, bytearray(b"\x7f")
    while left > 127:
        length.append(left & 127 | 128)
        left >>= 7
    length.append(left)
    return bytes(length) + text


def unpadded(flags: int, payload: bytes) -> bytes:
    """A payload of DATA or HEADERS without padding and priority; raises NotHttp2."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload or payload[0] >= end:
            raise NotHttp2("a frame's padding is longer than the frame")
        start, end = 1, end - payload[0]
    return payload[start + (5 if flags & PRIORITY else 0) : end]
