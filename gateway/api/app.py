"""The inference app: FastAPI declares and documents it; the dialects' own routes are answered before its router."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from adapters.errors import ServingError
from gateway.api import open_inference_routes, tf_serving_routes, torchserve_routes
from gateway.api.dialect import App, Dialect
from gateway.api.endpoint import DialectEndpoint
from gateway.api.model_repository import ModelRepositoryHttp
from gateway.api.open_inference import OpenInferenceHttp
from gateway.api.tf_serving import TfServingHttp
from gateway.api.torchserve import TorchServeHttp
from gateway.dataplane import DataPlane
from gateway.modelaccess import ModelAccess
from gateway.protocols.open_inference import STATUS


def build(dataplane: DataPlane, models: ModelAccess, max_body_bytes: int) -> App:
    """The ASGI app of the inference port."""
    app = FastAPIOffline(
        title="Torii inference API",
        version=version("torii-gateway"),
        summary="One gate to every model: Open Inference Protocol V2.",
        description="`{model}` is a model's name, or `name@backend` to pin a backend: `digits@tflite`.",
    )

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/docs")
        return JSONResponse({"status": "alive", "docs": "/docs"})  # KServe's V1 clients ask here whether it lives

    open_inference_routes.add(app, dataplane, models)
    tf_serving_routes.add(app)
    torchserve_routes.add(app)
    _add_errors(app)
    torchserve = TorchServeHttp(dataplane)
    dialects: list[Dialect] = [
        OpenInferenceHttp(dataplane),
        ModelRepositoryHttp(models),
        TfServingHttp(dataplane, torchserve.raw_predictions),
        torchserve,
    ]
    return DialectEndpoint(dialects, max_body_bytes, app)


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
