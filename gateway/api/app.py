"""The inference app: FastAPI declares and documents it; the inference route itself is answered before its router."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from adapters.errors import ServingError
from gateway.api import description as doc
from gateway.api.inference import App, InferenceEndpoint
from gateway.dataplane import DataPlane
from gateway.protocols.open_inference import STATUS, describe_model
from gateway.types import Target

_NAME = "torii"


def build(dataplane: DataPlane, max_body_bytes: int) -> App:
    """The ASGI app of the inference port."""
    app = FastAPIOffline(
        title="Torii inference API",
        version=version("torii-gateway"),
        summary="One gate to every model: Open Inference Protocol V2.",
        description="`{model}` is a model's name, or `name@backend` to pin a backend: `digits@tflite`.",
    )
    _add_health(app, dataplane)
    _add_models(app, dataplane)
    _add_inference(app)
    _add_errors(app)
    return InferenceEndpoint(dataplane, max_body_bytes, app)


def _add_health(app: FastAPI, dataplane: DataPlane) -> None:
    registry = dataplane.registry

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/v2", tags=["server"])
    async def server_metadata() -> doc.ServerMetadata:
        """Name, version and protocol extensions of the server."""
        return doc.ServerMetadata(name=_NAME, version=version("torii-gateway"), extensions=[])

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


def _add_models(app: FastAPI, dataplane: DataPlane) -> None:
    not_there: dict[int | str, dict[str, Any]] = {code: doc.ERRORS[code] for code in (400, 404, 503)}

    def describe(model: str, number: str | None) -> dict[str, Any]:
        lease = dataplane.resolve(Target.parse(model, number))
        versions = dataplane.registry.tables[lease.deployment.model].versions()
        endpoint = lease.endpoint
        return describe_model(model, versions, endpoint.backend, endpoint.runtime, endpoint.signature)

    @app.get("/v2/models/{model}", tags=["models"], responses=not_there, response_model=doc.ModelMetadata)
    async def model_metadata(model: str) -> dict[str, Any]:
        """Inputs and outputs of the deployment that would answer now."""
        return describe(model, None)

    @app.get(
        "/v2/models/{model}/versions/{version}", tags=["models"], responses=not_there, response_model=doc.ModelMetadata
    )
    async def version_metadata(model: str, version: str) -> dict[str, Any]:
        """Inputs and outputs of a version."""
        return describe(model, version)

    @app.get("/v2/models/{model}/ready", tags=["models"], responses=not_there)
    async def model_ready(model: str) -> doc.ModelReady:
        """Whether a request for the model would be answered now."""
        dataplane.resolve(Target.parse(model))
        return doc.ModelReady(name=model, ready=True)

    @app.get("/v2/models/{model}/versions/{version}/ready", tags=["models"], responses=not_there)
    async def version_ready(model: str, version: str) -> doc.ModelReady:
        """Whether a request for the version would be answered now."""
        dataplane.resolve(Target.parse(model, version))
        return doc.ModelReady(name=model, ready=True)


def _add_inference(app: FastAPI) -> None:
    # InferenceEndpoint answers these paths before the router is asked; here they are only described.
    @app.post("/v2/models/{model}/infer", tags=["inference"], responses=doc.ERRORS)
    async def infer(model: str, body: doc.InferenceRequest) -> doc.InferenceResponse:
        """Run the model's default version."""
        raise AssertionError("the router was asked for the inference route")

    @app.post("/v2/models/{model}/versions/{version}/infer", tags=["inference"], responses=doc.ERRORS)
    async def infer_version(model: str, version: str, body: doc.InferenceRequest) -> doc.InferenceResponse:
        """Run one version of the model."""
        raise AssertionError("the router was asked for the inference route")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServingError)
    async def serving_error(request: Request, error: ServingError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, STATUS[type(error)])

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path[:200]}: {error.detail}; /docs lists the routes"
        return JSONResponse({"error": text}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": str(error.errors())[:500]}, 400)
