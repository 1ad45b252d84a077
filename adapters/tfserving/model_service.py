"""The control side of a TF Serving's gRPC: what it has, and what it should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from adapters.errors import LoadFailed
from adapters.tfserving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from adapters.tfserving.rpc import call, open_channel

_ANSWER_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model in a TF Serving's configuration: the folder `base_path` holds the folder of its one version."""

    name: str
    version: int
    base_path: Path


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """`state` is START, LOADING, AVAILABLE, UNLOADING or END; `error` says why it ended, empty where nothing failed."""

    version: int
    state: str
    error: str


class ModelService:
    """A connection to a TF Serving for everything but predictions."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    async def wait_ready(self, limit_s: float) -> None:
        """Return once it answers; raises BackendUnavailable, DeadlineExceeded."""
        await call(
            self._models.GetModelStatus,
            _status_request("", None),
            limit_s=limit_s,
            wait_for_ready=True,
            none_where=(grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT),
        )

    async def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """The states of a model's versions, none where it knows none; raises ServingError."""
        request = _status_request(name, version)
        absent = (grpc.StatusCode.NOT_FOUND,)
        response = await call(self._models.GetModelStatus, request, limit_s=_ANSWER_LIMIT_S, none_where=absent)
        if response is None:
            return []
        state_name = get_model_status_pb2.ModelVersionStatus.State.Name
        return [
            VersionStatus(each.version, state_name(each.state), each.status.error_message)
            for each in response.model_version_status
        ]

    async def reload(self, models: Iterable[ServedModel], limit_s: float) -> None:
        """Replace the server's whole configuration; the real server answers once all new models are loaded or failed.

        Raises:
            ServingError: it cannot be reached, or one of the new models did not load, which need not be the caller's.
        """
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.SetInParent()  # an empty list is a configuration too
        for model in models:
            config = request.config.model_config_list.config.add(
                name=model.name, base_path=str(model.base_path), model_platform="tensorflow"
            )
            config.model_version_policy.specific.versions.append(model.version)
        await call(self._models.HandleReloadConfigRequest, request, limit_s=limit_s)

    async def signatures(self, name: str, version: int) -> Mapping[str, Any]:
        """The SignatureDefs of a loaded version, by name; raises ServingError."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        request.model_spec.version.value = version
        response = await call(self._predictions.GetModelMetadata, request, limit_s=_ANSWER_LIMIT_S)
        found = get_model_metadata_pb2.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(found):
            raise LoadFailed(f"expected a SignatureDefMap as the metadata of {name}, got something else")
        return dict(found.signature_def)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _status_request(name: str, version: int | None) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request
