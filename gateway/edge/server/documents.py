"""A file that is answered from memory, compressed once and not for every request."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

try:
    import zstandard
except ImportError:  # gzip has to do
    zstandard = None  # type: ignore[assignment,unused-ignore]

_WORTH_BYTES: Final = 400
"""What is smaller fits into one packet anyway."""

_WORTH: Final = 0.9
"""What is left of it at most, or compressing is of no use."""


@dataclass(frozen=True, slots=True)
class Document:
    """Its bytes, and the same in the encodings (`gzip`, `zstd`) in which it is smaller; `tag` is its digest in hex."""

    content: bytes
    tag: str
    encoded: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes, compressed: bool = True) -> Document:
        """Blocking: compresses, some megabytes in a fraction of a second."""
        return cls(content, hashlib.sha256(content).hexdigest(), _encoded(content) if compressed else {})


def _encoded(content: bytes) -> dict[str, bytes]:
    if len(content) < _WORTH_BYTES:
        return {}
    found = {"gzip": gzip.compress(content, 6, mtime=0)}
    if zstandard is not None:
        found["zstd"] = zstandard.ZstdCompressor(level=9).compress(content)
    return {name: each for name, each in found.items() if len(each) <= len(content) * _WORTH}
