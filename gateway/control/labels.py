"""The control API's routes for labels."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from adapters.errors import InvalidInput
from gateway.control.body import read_body
from gateway.control.callers import who_asks
from gateway.labels import Labels

_MAX_BODY_BYTES = 1 << 16


class ModelLabels(BaseModel):
    """A model's labels."""

    labels: dict[str, int] = Field(examples=[{"stable": 1, "canary": 2}])


class LabelTarget(BaseModel):
    """What a label is to name."""

    version: int = Field(ge=1, examples=[2])


_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": LabelTarget.model_json_schema()}}}
}


def add_labels(app: FastAPI, labels: Labels) -> None:
    """Add the routes."""

    @app.get("/v1/models/{model}/labels", tags=["labels"])
    async def get_labels(model: str) -> ModelLabels:
        """The labels that count now."""
        return ModelLabels(labels=await labels.of(model))

    @app.put("/v1/models/{model}/labels/{label}", tags=["labels"], openapi_extra=_BODY)
    async def put_label(model: str, label: str, request: Request) -> ModelLabels:
        """Have a label name a version that is ready; requests go by it when this answers."""
        await labels.set(model, label, _version(await read_body(request, _MAX_BODY_BYTES)), who_asks(request))
        return ModelLabels(labels=await labels.of(model))

    @app.delete("/v1/models/{model}/labels/{label}", tags=["labels"])
    async def delete_label(model: str, label: str, request: Request) -> ModelLabels:
        """Take a label away."""
        await labels.remove(model, label, who_asks(request))
        return ModelLabels(labels=await labels.of(model))


def _version(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body: not JSON: {error}") from None
    if not isinstance(document, dict) or document.keys() != {"version"}:
        raise InvalidInput('body: expected {"version": NUMBER}')
    return document["version"]
