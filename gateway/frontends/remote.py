"""What a frontend asks of control."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from adapters.errors import BackendUnavailable
from gateway.frontends import messages as m
from gateway.frontends.link import Link, LinkLost
from gateway.protocols.model_repository import IndexEntry
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment

T = TypeVar("T")


class RemoteAccess:
    """A ModelAccess over the link to control, where all of it is decided."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """See ModelAccess.load."""
        await _answered(self._link.call(m.Load(model, version, None if overrides is None else dict(overrides))))

    async def unload(self, model: str, version: int | None = None) -> None:
        """See ModelAccess.unload."""
        await _answered(self._link.call(m.Unload(model, version)))

    async def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """See ModelAccess.index."""
        return await _answered(self._link.call(m.Index(ready_only), list[IndexEntry]))

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        """See ModelAccess.statistics."""
        return dict(await _answered(self._link.call(m.TellStatistics(), m.Told)))


async def _answered(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except LinkLost:
        raise BackendUnavailable("the gateway's control process is gone") from None
