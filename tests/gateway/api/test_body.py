"""A request's body, unpacked where it was packed, up to a limit."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from adapters.errors import InvalidInput
from gateway.api.body import unpacked
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


def read(body: bytes, encoding: bytes, limit: int = 1000) -> bytes:
    return asyncio.run(unpacked(body, encoding, limit))


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_a_packed_body_is_unpacked(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    for data in (b"", b"x" * 900, b'{"inputs": []}'):
        assert read(pack(data), encoding) == data


@pytest.mark.parametrize(("encoding", "pack"), PACKERS[:5])
def test_a_bomb_is_refused_once_it_is_over_the_limit(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 70_000
    with pytest.raises(RequestTooLarge, match="at most 100000 bytes unpacked"):
        read(bomb, encoding, limit=100_000)


def test_a_bomb_within_a_bomb_is_not_unpacked_twice() -> None:
    inner = gzip.compress(bytes(1000))
    assert read(gzip.compress(inner), b"gzip") == inner


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (b"plain", b"gzip", "expected gzip"),
        (b"", b"gzip", "ends in the middle"),
        (gzip.compress(b"data", mtime=0)[:-3], b"gzip", "ends in the middle"),
        (gzip.compress(b"data", mtime=0) + b"more", b"gzip", "4 bytes are left over"),
        (gzip.compress(b"data", mtime=0) * 2, b"gzip", "left over"),
        (b"plain text", b"deflate", "expected deflate"),
        (gzip.compress(b"data", mtime=0), b"deflate", "expected deflate"),
        (b"data", b"br", "expected gzip or deflate, got 'br'"),
        (gzip.compress(b"data", mtime=0), b"gzip, gzip", "expected gzip or deflate"),
        (b"data", b"\xff\n", "expected gzip or deflate"),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(body: bytes, encoding: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(body, encoding)
