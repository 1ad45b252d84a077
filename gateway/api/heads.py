"""Heads of requests that were parsed before: a client's next one is mostly the same bytes, but for its length."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.api.dialect import Dialect

_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_END = b"\r\n\r\n"
_MAX_DIGITS = 15
_MAX_HEAD_BYTES = 4096
_MAX_HEADS = 1024


class Head(msgspec.Struct, frozen=True):
    """The parsed head of a request that a dialect claims. Names of headers are lower, without Content-Length.

    `keep_alive` is whether the connection stays open after the answer.
    """

    dialect: Dialect
    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    max_body_bytes: int
    keep_alive: bool = True


class KnownHeads:
    """Remembers what a parser made of a head, by its bytes without the digits of Content-Length.

    Only heads with one Content-Length are learned, so that whatever has the same bytes parses to the same. The oldest
    are forgotten: heads are the callers', and there is no end to them.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, int, int] | None:
        """The head that `data` begins with, where its body begins, and the body's length; None if it is not known."""
        cut = _cut(data)
        if cut is None:
            return None
        key, start, length = cut
        head = self._heads.get(key)
        return None if head is None else (head, start, length)

    def learn(self, data: bytes, head: Head) -> None:
        """Remember what a parser made of the head that `data` begins with."""
        cut = _cut(data)
        if cut is None or cut[1] > _MAX_HEAD_BYTES:
            return
        self._heads[cut[0]] = head
        if len(self._heads) > _MAX_HEADS:
            del self._heads[next(iter(self._heads))]


def _cut(data: bytes) -> tuple[bytes, int, int] | None:
    """A head without the digits of its first Content-Length, where the body begins, and the length."""
    end = data.find(_END)
    if end < 0:
        return None
    for name in _LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            digits_at = at + len(name)
            digits_end = data.find(b"\r", digits_at, end + 1)
            digits = data[digits_at:digits_end]
            if not digits.isdigit() or len(digits) > _MAX_DIGITS:
                return None
            return data[:digits_at] + data[digits_end:end], end + len(_END), int(digits)
    return None
