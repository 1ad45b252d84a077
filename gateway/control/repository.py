"""The control API's routes for models by name: V2's repository extension, as Triton has it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.control.body import read_body
from gateway.modelcontrol import ModelControl
from gateway.protocols.model_repository import decode_index, decode_parameters, encode_index


def add_repository(app: FastAPI, models: ModelControl, max_body_bytes: int) -> None:
    """Add the routes."""

    @app.post("/v2/repository/index", tags=["models"], openapi_extra=_body({"ready": {"type": "boolean"}}))
    async def index(request: Request) -> Response:
        """Every version in the repository, with its state and why."""
        ready_only = decode_index(await read_body(request, max_body_bytes))
        return Response(encode_index(models.index(ready_only)), media_type="application/json")

    @app.post("/v2/repository/models/{model}/load", tags=["models"], openapi_extra=_body({"parameters": _PARAMETERS}))
    async def load(model: str, request: Request) -> Response:
        """Load what is new, changed, failed or unloaded, and answer once it is ready or has failed."""
        await models.load(model, overrides=decode_parameters(await read_body(request, max_body_bytes)))
        return Response()

    @app.post("/v2/repository/models/{model}/unload", tags=["models"], openapi_extra=_body({"parameters": {}}))
    async def unload(model: str, request: Request) -> Response:
        """Send no more requests to a model, and unload it once the last is answered."""
        decode_parameters(await read_body(request, max_body_bytes))
        await models.unload(model)
        return Response()


_PARAMETERS = {
    "type": "object",
    "description": "with model_upload: config (JSON), and file:VERSION/NAME (base64)",
    "additionalProperties": {"type": "string"},
}


def _body(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}
