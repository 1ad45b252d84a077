"""What the inference ports may do to models: look, and more only where the settings say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.errors import NotAllowed
from gateway.protocols.model_repository import IndexEntry


class ModelAccess(Protocol):
    """Models that can be listed, loaded and unloaded by name."""

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """See ModelControl.load."""
        ...

    async def unload(self, model: str, version: int | None = None) -> None:
        """See ModelControl.unload."""
        ...

    def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """See ModelControl.index."""
        ...


class LookOnly:
    """A ModelAccess that refuses to change anything: inference ports are open to whoever may infer."""

    def __init__(self, access: ModelAccess) -> None:
        self.index = access.index

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
