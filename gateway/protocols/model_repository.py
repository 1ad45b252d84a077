"""Model control in V2 (Triton's extension `model_repository`): bodies to calls, an index to a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from adapters.errors import InvalidInput
from gateway.protocols.json_counts import check_counts


class Readiness(StrEnum):
    """A version's state, in Triton's words."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the repository; `version` is None for a model that has none."""

    name: str
    version: str | None
    state: Readiness
    reason: str


def decode_index(body: bytes) -> bool:
    """Whether `POST /v2/repository/index` asks for what is ready alone; raises InvalidInput."""
    ready = _object(body).get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInput(f"ready: expected true or false, got a {type(ready).__name__}")
    return ready


def encode_index(entries: Sequence[IndexEntry]) -> bytes:
    """The body that answers it."""
    return orjson.dumps([index_entry(entry) for entry in entries])


def index_entry(entry: IndexEntry) -> dict[str, str]:
    """One entry's fields; a version that is None is left out."""
    fields = {"name": entry.name, "version": entry.version, "state": entry.state.value, "reason": entry.reason}
    return {key: value for key, value in fields.items() if value is not None}


def decode_parameters(body: bytes) -> Mapping[str, Any]:
    """The parameters of `POST /v2/repository/models/{model}/load` or `…/unload`; raises InvalidInput."""
    parameters = _object(body).get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidInput(f"parameters: expected an object, got a {type(parameters).__name__}")
    return parameters


def _object(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    check_counts(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"body: expected a JSON object, got a {type(document).__name__}")
    return document
