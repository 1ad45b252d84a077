"""The id of a request that says by itself what it was assigned to, so that no record of every request is needed.

A token is the base64 (RFC 4648, section 5) of 36 bytes: a hash of the experiment's run, the arm, the epoch, the second
in which it was made, the unit's number, a number that makes it another than the last, and a keyed hash (BLAKE2b) over
all that, which needs the key to be made.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

_BODY: Final = struct.Struct(">8sHHIQ3s")
_MAC_BYTES: Final = 9  # with the body a multiple of three: no padding
_TOKEN_CHARACTERS: Final = 48
_NUMBERS: Final = itertools.count(int.from_bytes(os.urandom(3)))


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> blake2b:
    return blake2b(digest_size=_MAC_BYTES, key=key)


def _mac(key: bytes, body: bytes) -> bytes:
    hashing = _keyed(key).copy()
    hashing.update(body)
    return hashing.digest()


class Token(msgspec.Struct, frozen=True):
    """What a request was assigned to; `run_hash` is `hash_run`'s, `made_s` the second since 1970."""

    run_hash: bytes
    arm: int
    epoch: int
    made_s: int
    number: int


@lru_cache(maxsize=256)
def hash_run(experiment: str, run: int) -> bytes:
    """What stands for a run in tokens: 8 bytes; `experiment` is MODEL/NAME."""
    return blake2b(f"{experiment}\n{run}".encode(), digest_size=8).digest()


def make_token(key: bytes, run_hash: bytes, arm: int, epoch: int, number: int) -> bytes:
    """The id of a request that was assigned just now."""
    another = (next(_NUMBERS) & 0xFFFFFF).to_bytes(3)
    body = _BODY.pack(run_hash, arm, epoch & 0xFFFF, int(time.time()), number, another)
    return urlsafe_b64encode(body + _mac(key, body))


def read_token(key: bytes, text: str) -> Token | None:
    """What a request's id says; None where it was not made with this key."""
    try:
        data = urlsafe_b64decode(text) if len(text) == _TOKEN_CHARACTERS else b""
    except ValueError:
        return None
    if len(data) != _BODY.size + _MAC_BYTES or urlsafe_b64encode(data).decode() != text:
        return None  # there is one way only to write a token, or one would count as several
    body, mac = data[: _BODY.size], data[_BODY.size :]
    if not compare_digest(mac, _mac(key, body)):
        return None
    run_hash, arm, epoch, made_s, number, _ = _BODY.unpack(body)
    return Token(run_hash, arm, epoch, made_s, number)
