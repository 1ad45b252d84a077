"""Triton's repository calls of `inference.GRPCInferenceService`."""

from __future__ import annotations

from typing import Any

from gateway.grpc_api.calls import Act, Call
from gateway.modelaccess import ModelAccess
from gateway.protocols.model_repository import index_entry
from gateway.protocols.open_inference_messages import read_parameters
from gateway.protocols.protos import message


class ModelRepository:
    """Index, load, unload."""

    def __init__(self, models: ModelAccess) -> None:
        self._models = models

    def acts(self) -> dict[str, Act]:
        """The methods by name."""
        return {
            "RepositoryIndex": self.index,
            "RepositoryModelLoad": self.load,
            "RepositoryModelUnload": self.unload,
        }

    async def index(self, request: Any, _call: Call) -> Any:
        """RepositoryIndex."""
        return _Index(models=[index_entry(each) for each in await self._models.index(request.ready)])

    async def load(self, request: Any, _call: Call) -> Any:
        """RepositoryModelLoad."""
        await self._models.load(request.model_name, overrides=read_parameters(request.parameters))
        return _Loaded()

    async def unload(self, request: Any, _call: Call) -> Any:
        """RepositoryModelUnload."""
        await self._models.unload(request.model_name)
        return _Unloaded()


_Index = message("inference.RepositoryIndexResponse")
_Loaded = message("inference.RepositoryModelLoadResponse")
_Unloaded = message("inference.RepositoryModelUnloadResponse")
