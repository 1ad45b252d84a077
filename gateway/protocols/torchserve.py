"""TorchServe's own words: statuses, types and texts of errors, and its way to print JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from adapters import errors as floor
from adapters.base import Endpoint, RawAnswer
from adapters.errors import InvalidInput, ServingError
from gateway import errors
from gateway.types import ModelTable, State, Target

ERRORS: Final[Mapping[type[ServingError], tuple[int, str]]] = {
    floor.InvalidInput: (400, "BadRequestException"),
    errors.NotAllowed: (403, "ForbiddenException"),
    errors.ModelNotFound: (404, "ModelNotFoundException"),
    errors.Conflict: (409, "ConflictStatusException"),
    errors.RequestTooLarge: (413, "RequestEntityTooLargeException"),
    errors.Overloaded: (429, "TooManyRequestsException"),
    floor.InferenceFailed: (500, "InternalServerException"),
    errors.Unsupported: (501, "NotImplementedException"),
    floor.BackendUnavailable: (503, "ServiceUnavailableException"),
    floor.BackendDied: (507, "InternalServerException"),
    errors.VersionNotReady: (503, "ServiceUnavailableException"),
    floor.LoadFailed: (500, "InternalServerException"),
    floor.DeadlineExceeded: (504, "RequestTimeoutException"),
}
"""Every error's HTTP status and type; a test keeps it complete. Types that TorchServe lacks are named after its own."""

STATUS: Final[Mapping[type[ServingError], int]] = {kind: status for kind, (status, _) in ERRORS.items()}
"""Every error's HTTP status."""

_OWN: Final = "InternalServerException"
_VERSION: Final = re.compile(r"([0-9]{1,18})(?:\.0)?")
_STABLE: Final = "stable"
_WORKER_DIED: Final = "Worker died"


class Refusal(Exception):
    """A refusal that TorchServe words in its own way, beside the table of errors."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind

    def body(self) -> bytes:
        """The JSON body."""
        return _error(self.status, self.kind, str(self))


def resource_not_found() -> Refusal:
    """A path that is no route."""
    return Refusal(404, "ResourceNotFoundException", "Requested resource is not found, please refer to API document.")


def method_not_allowed() -> Refusal:
    """A route that has no such method."""
    return Refusal(405, "MethodNotAllowedException", "Requested method is not allowed, please refer to API document.")


def model_not_found(model: str) -> Refusal:
    """No such model."""
    return Refusal(404, "ModelNotFoundException", f"Model not found: {model:.300}")


def version_not_found(model: str, version: str) -> Refusal:
    """The model is there, the version is not."""
    return Refusal(
        404,
        "ModelVersionNotFoundException",
        f"Model version: {version:.80} does not exist for model: {model:.200}",
    )


def read_target(model: str, version: str | None, tables: Mapping[str, ModelTable]) -> Target:
    """A target from a URL's segments; a version may look like TorchServe's own, `1.0`.

    `tables` tell whether it is the model that is not there, where the version can be none.

    Raises:
        Refusal: there can be no such model or version.
    """
    try:
        target = Target.parse(model)
    except InvalidInput:
        raise model_not_found(model) from None
    if version is None:
        return target
    match = _VERSION.fullmatch(version)
    if match is None or not int(match[1]):
        raise missing(target, tables.get(target.model)) or version_not_found(model, version)
    return Target(target.model, int(match[1]), None, target.backend)


def registered_versions(table: ModelTable) -> list[int]:
    """The versions that were not unloaded, oldest first."""
    gone = (State.DRAINING, State.UNLOADED)
    return sorted({each.version for each, standing in table.standings.items() if standing.state not in gone})


def registered_table(target: Target, tables: Mapping[str, ModelTable]) -> ModelTable:
    """A target's model; raises Refusal where nothing of it is registered."""
    table = tables.get(target.model)
    if table is None or not registered_versions(table):
        raise model_not_found(target.model)
    return table


def missing(target: Target, table: ModelTable | None) -> Refusal | None:
    """What TorchServe says where a target is not there: it tells a model from a version. None: it is.

    What was unloaded by request is not there: TorchServe would call it unregistered.
    """
    versions = registered_versions(table) if table is not None else []
    if table is None or not versions:
        return model_not_found(target.model)
    version = target.version or table.labels.get(_STABLE)
    if version is not None and version not in versions:
        return version_not_found(target.model, str(version))
    backends = {each.backend for each in table.standings if version in (None, each.version)}
    if target.backend not in (None, *backends):
        return model_not_found(f"{target.model}@{target.backend}; backends there are: {', '.join(sorted(backends))}")
    return None


def takes_bodies(endpoint: Endpoint) -> bool:
    """Whether a deployment has code of its own, which takes whole bodies and no tensors."""
    return endpoint.remote.get("kind") == "raw"


def handler_error(answer: RawAnswer) -> ServingError:
    """What a refusal by a model's own code means where it cannot be passed on as it is."""
    try:
        text = str(orjson.loads(answer.body)["message"])
    except (ValueError, TypeError, KeyError):
        text = answer.body[:300].decode(errors="replace").strip() or "no reason given"
    if text.startswith(_WORKER_DIED):
        return floor.BackendDied(f"the process of the model died with this request; it is being restarted ({text})")
    kind = floor.InvalidInput if 400 <= answer.status < 500 else floor.InferenceFailed
    return kind(f"the model's handler answered {answer.status}: {text}")


def is_healthy(ready: bool, tables: Mapping[str, ModelTable]) -> bool:
    """What /ping tells: the server takes requests, and where there are models, one can answer."""
    standings = (standing for table in tables.values() for standing in table.standings.values())
    states = {standing.state for standing in standings} - {State.UNLOADED}
    return ready and (not states or State.READY in states)


def encode_health(healthy: bool) -> bytes:
    """The body of /ping."""
    return to_json({"status": "Healthy" if healthy else "Unhealthy"})


def encode_error(error: ServingError) -> bytes:
    """The JSON body of an error; one that is not in the table is what nobody foresaw."""
    status, kind = ERRORS.get(type(error), (500, _OWN))
    return _error(status, kind, str(error))


def _error(status: int, kind: str, text: str) -> bytes:
    return to_json({"code": status, "type": kind, "message": text})


def to_json(document: Any) -> bytes:
    """JSON as TorchServe prints it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
