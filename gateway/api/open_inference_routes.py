"""V2's routes besides inference: health, metadata, configuration, statistics."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from gateway.api import description as doc
from gateway.dataplane import DataPlane
from gateway.modelaccess import ModelAccess
from gateway.protocols.model_metadata import EXTENSIONS, configure_model, describe_model
from gateway.protocols.model_statistics import describe_statistics
from gateway.registry import Lease
from gateway.types import Target

_NAME = "torii"
_NOT_THERE: dict[int | str, dict[str, Any]] = {code: doc.ERRORS[code] for code in (400, 404, 503)}


def add(app: FastAPI, dataplane: DataPlane, models: ModelAccess) -> None:
    """Declare V2's routes; the inference route is only described, its dialect answers it."""
    _add_health(app, dataplane)
    _add_statistics(app, models)  # before the models: /v2/models/stats is no model's
    _add_readiness(app, dataplane)
    _add_metadata(app, dataplane)
    _add_inference(app)
    _add_repository(app)


def _add_health(app: FastAPI, dataplane: DataPlane) -> None:
    registry = dataplane.registry

    @app.get("/v2", tags=["server"])
    async def server_metadata() -> doc.ServerMetadata:
        """Name, version and protocol extensions of the server."""
        return doc.ServerMetadata(name=_NAME, version=version("torii-gateway"), extensions=list(EXTENSIONS))

    @app.head("/v2/health/live", include_in_schema=False)
    @app.get("/v2/health/live", tags=["server"])
    async def live() -> doc.ServerHealth:
        """Whether the server runs."""
        return doc.ServerHealth(live=True, ready=registry.ready)

    @app.head("/v2/health/ready", include_in_schema=False)
    @app.get("/v2/health/ready", tags=["server"], responses={503: {"model": doc.ServerHealth}})
    async def ready(response: Response) -> doc.ServerHealth:
        """Whether every model that was there at the start is loaded or has failed, and the server is not stopping."""
        response.status_code = 200 if registry.ready else 503
        return doc.ServerHealth(live=True, ready=registry.ready)


def _add_statistics(app: FastAPI, models: ModelAccess) -> None:
    async def tell(target: Target | None, name: str = "") -> dict[str, Any]:
        return describe_statistics(await models.statistics(), target, name)

    @app.get("/v2/models/stats", tags=["models"], response_model=doc.Statistics)
    async def all_statistics() -> dict[str, Any]:
        """What every version has done: requests, rows, executions, and where their time went."""
        return await tell(None)

    @app.get("/v2/models/{model}/stats", tags=["models"], responses=_NOT_THERE, response_model=doc.Statistics)
    async def model_statistics(model: str) -> dict[str, Any]:
        """What a model's versions have done, their backends added up unless one is named."""
        return await tell(Target.parse(model), model)

    @app.get(
        "/v2/models/{model}/versions/{version}/stats",
        tags=["models"],
        responses=_NOT_THERE,
        response_model=doc.Statistics,
    )
    async def version_statistics(model: str, version: str) -> dict[str, Any]:
        """What one version has done."""
        return await tell(Target.parse(model, version), model)


def _add_readiness(app: FastAPI, dataplane: DataPlane) -> None:
    @app.get("/v2/models/{model}/ready", tags=["models"], responses=_NOT_THERE)
    async def model_ready(model: str) -> doc.ModelReady:
        """Whether a request for the model would be answered now."""
        dataplane.resolve(Target.parse(model))
        return doc.ModelReady(name=model, ready=True)

    @app.get("/v2/models/{model}/versions/{version}/ready", tags=["models"], responses=_NOT_THERE)
    async def version_ready(model: str, version: str) -> doc.ModelReady:
        """Whether a request for the version would be answered now."""
        dataplane.resolve(Target.parse(model, version))
        return doc.ModelReady(name=model, ready=True)


def _add_metadata(app: FastAPI, dataplane: DataPlane) -> None:
    def find(model: str, number: str | None) -> tuple[Lease, list[int]]:
        lease = dataplane.resolve(Target.parse(model, number))
        return lease, dataplane.registry.tables[lease.deployment.model].versions()

    @app.get("/v2/models/{model}", tags=["models"], responses=_NOT_THERE, response_model=doc.ModelMetadata)
    async def model_metadata(model: str) -> dict[str, Any]:
        """Inputs and outputs of the deployment that would answer now."""
        lease, versions = find(model, None)
        return describe_model(model, versions, lease.endpoint)

    @app.get(
        "/v2/models/{model}/versions/{version}", tags=["models"], responses=_NOT_THERE, response_model=doc.ModelMetadata
    )
    async def version_metadata(model: str, version: str) -> dict[str, Any]:
        """Inputs and outputs of a version."""
        lease, versions = find(model, version)
        return describe_model(model, versions, lease.endpoint)

    @app.get("/v2/models/{model}/config", tags=["models"], responses=_NOT_THERE)
    async def model_config(model: str) -> dict[str, Any]:
        """The deployment that would answer now, in the words of Triton's model configuration."""
        lease, _ = find(model, None)
        return configure_model(model, [lease.deployment.version], lease.endpoint)

    @app.get("/v2/models/{model}/versions/{version}/config", tags=["models"], responses=_NOT_THERE)
    async def version_config(model: str, version: str) -> dict[str, Any]:
        """A version, in the words of Triton's model configuration."""
        lease, _ = find(model, version)
        return configure_model(model, [lease.deployment.version], lease.endpoint)


def _add_repository(app: FastAPI) -> None:
    # As with inference, a dialect answers these.
    not_allowed: dict[int | str, dict[str, Any]] = {code: doc.ERRORS[code] for code in (400, 403, 404, 413, 503)}

    @app.post("/v2/repository/index", tags=["repository"], responses={400: doc.ERRORS[400], 413: doc.ERRORS[413]})
    async def index(body: doc.IndexRequest | None = None) -> list[doc.IndexEntry]:
        """Every version in the repository, with its state and why."""
        raise AssertionError("the router was asked for a dialect's route")

    @app.post("/v2/repository/models/{model}/load", tags=["repository"], responses=not_allowed)
    async def load(model: str, body: doc.LoadRequest | None = None) -> None:
        """Load a model; on this port only where the server's settings allow it."""
        raise AssertionError("the router was asked for a dialect's route")

    @app.post("/v2/repository/models/{model}/unload", tags=["repository"], responses=not_allowed)
    async def unload(model: str, body: doc.LoadRequest | None = None) -> None:
        """Unload a model; on this port only where the server's settings allow it."""
        raise AssertionError("the router was asked for a dialect's route")


def _add_inference(app: FastAPI) -> None:
    # The dialect answers these paths before the router is asked; here they are only described.
    @app.post("/v2/models/{model}/infer", tags=["inference"], responses=doc.ERRORS)
    async def infer(model: str, body: doc.InferenceRequest) -> doc.InferenceResponse:
        """Run the model's default version."""
        raise AssertionError("the router was asked for the inference route")

    @app.post("/v2/models/{model}/versions/{version}/infer", tags=["inference"], responses=doc.ERRORS)
    async def infer_version(model: str, version: str, body: doc.InferenceRequest) -> doc.InferenceResponse:
        """Run one version of the model."""
        raise AssertionError("the router was asked for the inference route")
