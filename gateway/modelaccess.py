"""What the inference ports may do to models: look, and more only where the settings say so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from gateway.errors import NotAllowed
from gateway.modelcontrol import ModelControl
from gateway.protocols.model_repository import IndexEntry
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment


class ModelAccess(Protocol):
    """Models that can be listed, loaded and unloaded by name, whichever process knows of them."""

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """See ModelControl.load."""
        ...

    async def unload(self, model: str, version: int | None = None) -> None:
        """See ModelControl.unload."""
        ...

    async def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """See ModelControl.index."""
        ...

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        """What each deployment has done since it was first published, on all frontends."""
        ...


class FullAccess:
    """A ModelAccess beside the control plane, which allows everything."""

    def __init__(
        self,
        models: ModelControl,
        statistics: Callable[[], Coroutine[Any, Any, Mapping[Deployment, StatisticsSnapshot]]],
    ) -> None:
        self.load = models.load
        self.unload = models.unload
        self.statistics = statistics
        self._models = models

    async def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """See ModelControl.index."""
        return self._models.index(ready_only)


class LookOnly:
    """A ModelAccess that refuses to change anything: inference ports are open to whoever may infer."""

    def __init__(self, access: ModelAccess) -> None:
        self.index = access.index
        self.statistics = access.statistics

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """Raises NotAllowed."""
        raise _refusal("load")

    async def unload(self, model: str, version: int | None = None) -> None:
        """Raises NotAllowed."""
        raise _refusal("unload")


def _refusal(act: str) -> NotAllowed:
    return NotAllowed(
        f"{act} is not allowed on this port: ask on the control port, or start the server with model_control = true"
    )
