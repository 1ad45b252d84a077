"""What OpenAPI says of the inference route, whose bodies are read and written without these models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from adapters.tensors import DataType

_EXAMPLE: dict[str, Any] = {"inputs": [{"name": "image", "shape": [1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}]}


class Parameters(BaseModel):
    """Parameters of a request; unknown ones are taken and ignored, as other V2 servers do."""

    model_config = {"extra": "allow"}

    timeout: int | None = Field(None, ge=0, description="microseconds that the request may take; 0 is none")
    priority: int | None = Field(None, ge=0, description="0 is the default, 1 the highest")
    binary_data_output: bool | None = Field(None, description="give outputs as bytes behind the JSON")
    non_finite: Literal["string"] | None = Field(
        None, description='take and give NaN and infinities as "NaN", "Infinity", "-Infinity"'
    )


class InputTensor(BaseModel):
    """One input tensor."""

    name: str
    shape: list[int] = Field(description="sizes, the batch axis first")
    datatype: DataType
    data: list[Any] | None = Field(
        None, description="flat or nested, in row-major order; else `parameters.binary_data_size` bytes follow the JSON"
    )
    parameters: dict[str, Any] | None = None


class RequestedOutput(BaseModel):
    """An output that the caller wants; without any, all are given."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(BaseModel):
    """Body of an inference request."""

    model_config = {"json_schema_extra": {"example": _EXAMPLE}}

    id: str | None = Field(None, description="comes back in the answer")
    parameters: Parameters | None = None
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] | None = None


class OutputTensor(BaseModel):
    """One output tensor; `data` is flat and row-major."""

    name: str
    datatype: DataType
    shape: list[int]
    data: list[Any]


class InferenceResponse(BaseModel):
    """Body of an answer. The header `torii-served-by` names the deployment that gave it."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any] = Field(description="`backend` and `runtime` say what executed the model")
    outputs: list[OutputTensor]


class ErrorBody(BaseModel):
    """Body of every error."""

    error: str


class TensorMetadata(BaseModel):
    """What a model takes or gives; -1 is any size."""

    name: str
    datatype: DataType
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model as its default or requested deployment has it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class Duration(BaseModel):
    """How often, and for how long in all."""

    count: int
    ns: int


class BatchStatistics(BaseModel):
    """Executions of one size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class InferenceStatistics(BaseModel):
    """Requests, and where their time went."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class ModelStatistics(BaseModel):
    """One version. A request of 64 rows counts 64 inferences and one success."""

    name: str
    version: str
    last_inference: int = Field(description="when the last answer was given, in milliseconds since 1970")
    inference_count: int = Field(description="rows that were answered")
    execution_count: int = Field(description="batches that ran")
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class Statistics(BaseModel):
    """Triton's statistics extension."""

    model_stats: list[ModelStatistics]


class IndexRequest(BaseModel):
    """What to list."""

    ready: bool = Field(False, description="only what is ready")


class IndexEntry(BaseModel):
    """A version in the repository."""

    name: str
    version: str | None = None
    state: Literal["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]
    reason: str


class LoadRequest(BaseModel):
    """Parameters of a load or unload, as Triton has them."""

    parameters: dict[str, Any] | None = None


class ServerMetadata(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class ServerHealth(BaseModel):
    """Both keys always: the specification and the servers differ in which one they send; the status decides."""

    live: bool
    ready: bool


class ModelReady(BaseModel):
    """Whether a model can answer."""

    name: str
    ready: bool


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request is malformed, or its tensors do not fit the model"},
    403: {"model": ErrorBody, "description": "The server's settings do not allow it on this port"},
    404: {"model": ErrorBody, "description": "No such model, version or backend; the text says what there is"},
    413: {"model": ErrorBody, "description": "The body is over the server's limit"},
    429: {"model": ErrorBody, "description": "Too many requests wait already; Retry-After says when to come again"},
    500: {"model": ErrorBody, "description": "The model failed"},
    501: {"model": ErrorBody, "description": "The protocol has it, but this server or backend has not"},
    502: {"model": ErrorBody, "description": "The process that runs the model died; it is being restarted"},
    503: {"model": ErrorBody, "description": "The version is there but not ready; the text says why"},
    504: {"model": ErrorBody, "description": "The answer took longer than allowed"},
}
