"""Answers as bytes on an HTTP/1.1 connection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from gateway.api.dialect import Answer, Header

_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}  # a model's own may be none of these
_JOINED_BYTES: Final = 1 << 16
"""Above this, joining the parts of an answer costs more than sending them one by one."""


def encode_answer(
    answer: Answer, default_headers: Sequence[Header], with_body: bool = True, close: bool = False
) -> list[bytes | memoryview]:
    """An answer as parts to be written one after the other: a single one where it is small.

    `default_headers` go with every answer; `with_body` is false for HEAD; `close` says that no further one follows.
    """
    length = 0
    for part in answer.parts:
        length += len(part)
    head = b"".join(
        (
            _head(answer.status, answer.headers, answer.served_by),
            b"" if answer.assigned is None else answer.assigned.lines(),
            *[b"%b: %b\r\n" % header for header in default_headers],
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % length
            if close
            else b"content-length: %d\r\n\r\n" % length,
        )
    )
    if not with_body:
        return [head]
    if length <= _JOINED_BYTES:
        return [b"".join((head, *answer.parts))]
    return [head, *answer.parts]


@lru_cache(maxsize=1024)
def _head(status: int, headers: tuple[Header, ...], served_by: object) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status, _PHRASES.get(status, b""))]
    lines += [name + b": " + value for name, value in headers]
    if served_by is not None:
        lines.append(b"torii-served-by: " + str(served_by).encode())
    return b"\r\n".join(lines) + b"\r\n"
