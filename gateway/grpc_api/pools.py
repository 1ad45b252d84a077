"""Descriptors for server reflection: our own protocols' pool and the default one, as one."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pool

from gateway.protocols.protos import POOL

_POOLS: Final = (POOL, descriptor_pool.Default())


class JoinedPools:
    """As much of a DescriptorPool as reflection asks; what no pool has raises KeyError."""

    def FindFileByName(self, name: str) -> Any:  # noqa: N802  # protobuf's own names, here and below
        """See DescriptorPool."""
        return _first("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802
        """See DescriptorPool."""
        return _first("FindFileContainingSymbol", symbol)

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802
        """See DescriptorPool."""
        return _first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: N802
        """See DescriptorPool."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: N802
        """See DescriptorPool."""
        return message.file.pool.FindAllExtensions(message)


def _first(method: str, name: str) -> Any:
    for pool in _POOLS:
        try:
            return getattr(pool, method)(name)
        except KeyError:
            continue
    raise KeyError(f"no descriptor has {name!r:.200}")
