"""Header blocks of HTTP/2: HPACK, each block that comes again known by its bytes."""

from __future__ import annotations

from typing import Any, Final

from hpack import Decoder, HPACKError

_KNOWN: Final = 64

Fields = dict[str, str]


class BadHeaders(Exception):
    """A block that is no HPACK: what follows on the connection cannot be read either."""


class HeaderBlocks:
    """The header blocks that one connection receives, in order."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, Fields] = {}

    def read(self, block: bytes) -> Fields:
        """Its fields; equal blocks give the same object as long as they mean the same. Raises BadHeaders."""
        fields = self._known.get(block)
        return fields if fields is not None else self._learn(block)

    def _learn(self, block: bytes) -> Fields:
        before = self._table()
        try:
            fields = {_text(name).lower(): _text(value) for name, value in self._decoder.decode(block, raw=True)}
        except HPACKError as error:
            raise BadHeaders(f"a header block is no HPACK: {error}") from None
        after = self._table()
        if len(self._known) >= _KNOWN or not _same(before, after):
            self._known.clear()  # what blocks mean depends on the table
        if _same(before, after):
            self._known[block] = fields  # reading it again would not change the table
        return fields

    def _table(self) -> list[Any]:
        return list(self._decoder.header_table.dynamic_entries)


def _same(before: list[Any], after: list[Any]) -> bool:
    return len(before) == len(after) and all(one is other for one, other in zip(before, after, strict=True))


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("latin-1")
