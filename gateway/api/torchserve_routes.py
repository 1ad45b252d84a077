"""What OpenAPI says of TorchServe's inference routes: their dialect answers them before the router is asked."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, Field

_TAGS: Final[list[str | Enum]] = ["TorchServe"]
_EXAMPLE: Final = [[0.0] * 8] * 8
_NPY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}


class Health(BaseModel):
    """Whether requests are taken, and where there are models, one of them can answer."""

    status: Literal["Healthy", "Unhealthy"]


class TorchServeError(BaseModel):
    """Body of every error."""

    code: int = Field(description="the HTTP status")
    type: str = Field(examples=["ModelNotFoundException"])
    message: str


def _error(text: str) -> dict[str, Any]:
    return {"model": TorchServeError, "description": text}


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: _error("The body is malformed, does not fit the model, or the answer has no form in JSON"),
    404: _error("No such model or version"),
    405: _error("No such method"),
    413: _error("The body is over the server's limit"),
    429: _error("Too many requests wait already; Retry-After says when to come again"),
    500: _error("The model failed"),
    501: _error("The deployment has no explanations"),
    503: _error("The version is there but not ready, or its process is gone; the text says why"),
    504: _error("The answer took longer than allowed"),
    507: _error("The process of the model died with this request; it is being restarted"),
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Nested lists for a model of one output, an object by output name for others; .npy where "
        "`Accept` has application/x-npy. A handler of its own answers whatever it likes.",
        "content": {"application/json": {"schema": {}}, "application/x-npy": _NPY},
    },
    **_ERRORS,
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "For models that take tensors: a JSON list (a batch, or one row of it), a JSON object by input "
        "name, a .npy file, or a form whose field `data`, or whose fields by input name, are one of these. A model "
        "with a handler of its own, from a .mar archive, gets the body as it is.",
        "content": {
            "application/json": {"schema": {}, "example": _EXAMPLE},
            "application/x-npy": _NPY,
            "multipart/form-data": {"schema": {"type": "object", "additionalProperties": _NPY["schema"]}},
        },
    }
}


def add(app: FastAPI) -> None:
    """Describe the routes."""

    @app.get("/ping", tags=_TAGS, responses={500: {"model": Health}})
    async def ping() -> Health:
        """Whether the server takes requests."""
        raise _unreached()

    @app.get("/api-description", include_in_schema=False)
    @app.options("/", include_in_schema=False)
    async def api_description() -> dict[str, Any]:
        return app.openapi()

    for verb, summary in (("predictions", "Run a model on any backend"), ("explanations", "Ask a handler why")):
        _add(app, verb, summary)


def _add(app: FastAPI, verb: str, summary: str) -> None:
    @app.post(
        f"/{verb}/{{model}}",
        tags=_TAGS,
        summary=summary,
        responses=_ANSWERS,
        openapi_extra=_BODY,
        response_class=Response,
        operation_id=verb,
    )
    async def default_version(model: str) -> Response:
        """The model's default version."""
        raise _unreached()

    @app.post(
        f"/{verb}/{{model}}/{{version}}",
        tags=_TAGS,
        summary=f"{summary}, one version",
        responses=_ANSWERS,
        openapi_extra=_BODY,
        response_class=Response,
        operation_id=f"version_{verb}",
    )
    async def one_version(model: str, version: str) -> Response:
        """One version of the model."""
        raise _unreached()


def _unreached() -> AssertionError:
    return AssertionError("the router was asked for a route of the dialect")
