"""What OpenAPI says of TF Serving's routes: their dialect answers them before the router is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from fastapi import Depends, FastAPI
from fastapi.params import Depends as Dependency
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from adapters.errors import InvalidInput
from gateway.api import description as doc

_TAGS: Final[list[str | Enum]] = ["TensorFlow Serving"]
_EXAMPLE: dict[str, Any] = {"instances": [[[0.0] * 8] * 8]}

_Responses: TypeAlias = dict[int | str, dict[str, Any]]
_ERRORS: Final[_Responses] = {
    **{code: doc.ERRORS[code] for code in (400, 404, 413, 429, 500, 504)},
    501: {"model": doc.ErrorBody, "description": "The deployment's backend cannot do this; the text says which can"},
    503: {
        "model": doc.ErrorBody,
        "description": "The version is not ready, or its process died and is being restarted",
    },
}
_NOT_THERE: Final[_Responses] = {code: _ERRORS[code] for code in (400, 404, 503)}


class PredictRequest(BaseModel):
    """Body of `:predict`: exactly one of `instances` and `inputs`.

    Beyond JSON, the bare tokens NaN, Infinity and -Infinity are taken.
    """

    model_config = {"json_schema_extra": {"example": _EXAMPLE}}

    signature_name: str | SkipJsonSchema[None] = Field(None, description="`serving_default` where it is left out")
    instances: list[Any] | SkipJsonSchema[None] = Field(
        None, min_length=1, description="by row: an element for each row, a value or an object of values by input name"
    )
    inputs: Any = Field(None, description="by column: the only input's value, or an object of values by input name")


class PredictResponse(BaseModel):
    """`predictions` where it was asked by row, `outputs` by column; a single output goes without its name.

    NaN and infinities are bare tokens, as TF Serving writes them. The header `torii-served-by` names the deployment.
    """

    predictions: Any = None
    outputs: Any = None


class ExamplesRequest(BaseModel):
    """Body of `:classify` and `:regress`: tf.Examples, each an object of values or lists of values by feature name."""

    signature_name: str | SkipJsonSchema[None] = None
    context: dict[str, Any] | SkipJsonSchema[None] = Field(None, description="features that all examples share")
    examples: list[dict[str, Any]] = Field(min_length=1)


class Results(BaseModel):
    """A list of [label, score] for each example, or a value."""

    results: list[Any]


class VersionError(BaseModel):
    """`OK`, or why a version failed."""

    error_code: str
    error_message: str


class VersionStatus(BaseModel):
    """One version."""

    version: str
    state: str = Field(description="START, LOADING, AVAILABLE, UNLOADING or END")
    status: VersionError


class ModelStatus(BaseModel):
    """A model's versions, newest first."""

    model_version_status: list[VersionStatus]


class ModelSpec(BaseModel):
    """A version of a model."""

    name: str
    signature_name: str
    version: str


class ModelMetadata(BaseModel):
    """A version's SignatureDefs, in `metadata.signature_def.signature_def`."""

    model_spec: ModelSpec
    metadata: dict[str, Any]


def add(app: FastAPI) -> None:
    """Describe the routes."""
    for place, parameters in _PLACES.items():
        _add_inference(app, place, parameters)
        _add_models(app, place, parameters)


def _by_version(version: str) -> None:
    """The path has a version."""


def _by_label(label: str) -> None:
    """The path has a label."""


_PLACES: Final[Mapping[str, Sequence[Dependency]]] = {
    "/v1/models/{model}": (),
    "/v1/models/{model}/versions/{version}": (Depends(_by_version),),
    "/v1/models/{model}/labels/{label}": (Depends(_by_label),),
}


def _add_inference(app: FastAPI, place: str, parameters: Sequence[Dependency]) -> None:
    @app.post(
        f"{place}:predict", tags=_TAGS, dependencies=parameters, responses=_ERRORS, response_model_exclude_none=True
    )
    async def predict(model: str, body: PredictRequest) -> PredictResponse:
        """Run a model on any backend."""
        raise _unreached()

    @app.post(f"{place}:classify", tags=_TAGS, dependencies=parameters, responses=_ERRORS)
    async def classify(model: str, body: ExamplesRequest) -> Results:
        """Classify tf.Examples, where a deployment is TF Serving's and has a signature for it."""
        raise _unreached()

    @app.post(f"{place}:regress", tags=_TAGS, dependencies=parameters, responses=_ERRORS)
    async def regress(model: str, body: ExamplesRequest) -> Results:
        """Regress on tf.Examples, where a deployment is TF Serving's and has a signature for it."""
        raise _unreached()


def _add_models(app: FastAPI, place: str, parameters: Sequence[Dependency]) -> None:
    @app.get(place, tags=_TAGS, dependencies=parameters, responses=_NOT_THERE)
    async def model_status(model: str) -> ModelStatus:
        """States of a model's versions."""
        raise _unreached()

    @app.get(f"{place}/metadata", tags=_TAGS, dependencies=parameters, responses=_NOT_THERE)
    async def metadata(model: str) -> ModelMetadata:
        """Inputs and outputs, as signatures."""
        raise _unreached()


def _unreached() -> InvalidInput:
    # Only a path that is encoded where it has no need to be comes here: `/%761/models/…` is none of TF Serving's.
    return InvalidInput("Malformed request: expected a path that begins with /v1/")
