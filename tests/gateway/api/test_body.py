"""A request's body: read whole, up to a limit, and unpacked where it was packed."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.api.body import ClientLeft, read_body
from gateway.errors import RequestTooLarge


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"GZIP", gzip.compress),
    (b"x-gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"identity", bytes),
    (b" Identity", bytes),
]


def read(*chunks: bytes, limit: int = 1000, left: bool = False, **headers: bytes) -> bytes:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
    messages.append({"type": "http.disconnect"} if left else {"type": "http.request", "body": b""})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return asyncio.run(read_body(named, receive, limit))


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_a_body_in_pieces_is_one_body(chunks: list[bytes]) -> None:
    assert read(*chunks) == b"".join(chunks)


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_a_packed_body_is_unpacked(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    for data in (b"", b"x" * 900, b'{"inputs": []}'):
        assert read(pack(data), content_encoding=encoding) == data


@pytest.mark.parametrize(("encoding", "pack"), PACKERS[:5])
def test_a_bomb_is_refused_once_it_is_over_the_limit(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 70_000
    with pytest.raises(RequestTooLarge, match="at most 100000 bytes unpacked"):
        read(bomb, limit=100_000, content_encoding=encoding)


def test_a_bomb_within_a_bomb_is_not_unpacked_twice() -> None:
    inner = gzip.compress(bytes(1000))
    assert read(gzip.compress(inner), content_encoding=b"gzip") == inner


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (b"plain", b"gzip", "expected gzip"),
        (b"", b"gzip", "ends in the middle"),
        (gzip.compress(b"data")[:-3], b"gzip", "ends in the middle"),
        (gzip.compress(b"data") + b"more", b"gzip", "4 bytes are left over"),
        (gzip.compress(b"data") * 2, b"gzip", "left over"),
        (b"plain text", b"deflate", "expected deflate"),
        (gzip.compress(b"data"), b"deflate", "expected deflate"),
        (b"data", b"br", "expected gzip or deflate, got 'br'"),
        (gzip.compress(b"data"), b"gzip, gzip", "expected gzip or deflate"),
        (b"data", b"\xff\n", "expected gzip or deflate"),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(body: bytes, encoding: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(body, content_encoding=encoding)


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    with pytest.raises(RequestTooLarge, match="at most 1000 bytes, got 1001"):
        read(content_length=b"1001")
    with pytest.raises(RequestTooLarge, match="got more"):
        read(b"x" * 999, b"xx", b"never asked for")


def test_a_caller_who_leaves_in_its_body_is_no_error_of_ours() -> None:
    with pytest.raises(ClientLeft):
        read(b"half", left=True)
