"""TorchServe's management API as plain data: what a registration asks for, and what is told of models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from adapters.errors import InvalidInput
from gateway.errors import NotAllowed
from gateway.protocols.torchserve import Refusal, registered_versions
from gateway.types import ModelTable, State

MAX_WORKERS: Final = 64
"""More processes for one model are refused."""

_ARCHIVE: Final = ".mar"
_PLACE: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:/([0-9]{1,18}))?")
_ELSEWHERE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|/|\\")
_STABLE: Final = "stable"


def read_place(url: str) -> tuple[str, int | None]:
    """The model, and perhaps the version, that a registration's `url` names in the repository: `digits`, `digits/2`.

    Nothing is fetched, whatever it names.

    Raises:
        NotAllowed: it names a place elsewhere.
        Refusal: nothing in a repository has such a name.
    """
    if _ELSEWHERE.match(url):
        raise NotAllowed(
            f"Given URL {url:.200} does not match any allowed URL(s): what is registered stands in the repository, and "
            "is called by the model's name; nothing is fetched"
        )
    if ".." in url.replace("\\", "/").split("/"):
        raise NotAllowed(f"Relative path is not allowed in url: {url:.200}; give the name of a model in the repository")
    match = _PLACE.fullmatch(url)
    if match is None or (match[2] and not int(match[2])):
        raise not_found_at(url)
    return match[1], int(match[2]) if match[2] else None


def without_suffix(model: str) -> str:
    """The model that an archive's name stands for: `digits.mar` is `digits`."""
    return model.removesuffix(_ARCHIVE)


def not_found_at(url: str) -> Refusal:
    """A registration of what is not in the repository."""
    return Refusal(404, "ModelNotFoundException", f"Model not found at: {url:.200}")


def already_registered(model: str, version: int) -> Refusal:
    """A registration of what is served already."""
    text = f"Model version {version} is already registered for model {model}"
    return Refusal(409, "ConflictStatusException", text)


def cannot_remove_default(model: str) -> Refusal:
    """The default version goes last."""
    return Refusal(403, "InvalidModelVersionException", f"Cannot remove default version for model {model}")


def no_version_to_set(model: str, version: str) -> Refusal:
    """What there is not cannot become the default version."""
    text = f"Model version {version:.80} does not exist for model {model:.200}"
    return Refusal(404, "ModelVersionNotFoundException", text)


def failed_to_start(model: str, version: int, reason: str) -> Refusal:
    """The model's processes did not come up."""
    text = f"Failed to start workers for model {model} version: {version}: {reason}"
    return Refusal(500, "InternalServerException", text)


def registered(model: str, version: int, workers: int) -> str:
    """A registration that is complete."""
    return f'Model "{model}" Version: {version} registered with {workers} initial workers'


IN_PROGRESS: Final = "Processing worker updates..."
"""What was asked for is under way."""


def scaled(model: str, version: int | None, workers: int) -> str:
    """A scaling that is complete; the version where one was asked for."""
    return f"Workers scaled to {workers} for model: {model}" + (f", version: {version}" if version else "")


def default_set(model: str, version: int) -> str:
    """A default version that was moved."""
    return f'Default version successfully updated for model "{model}" to "{version}"'


def unregistered(model: str) -> str:
    """A model, or a version of it, that is gone."""
    return f'Model "{model}" unregistered'


def check_workers(minimum: int, maximum: int) -> None:
    """Raises InvalidInput for a range of workers that nothing could keep."""
    if maximum < minimum:
        raise InvalidInput("max_worker cannot be less than min_worker.")
    if minimum < 1:
        raise InvalidInput(
            f"min_worker: expected at least 1, got {minimum}: what is registered has a worker; unregister it instead"
        )
    if maximum > MAX_WORKERS:
        raise InvalidInput(f"max_worker: expected at most {MAX_WORKERS}, got {maximum}")


def default_version(table: ModelTable, backend: str | None = None) -> int | None:
    """The version that answers where none is asked for, on a backend if it matters; None where there is none."""
    versions = registered_versions(table)
    if (stable := table.labels.get(_STABLE)) is not None and stable in versions:
        return stable
    there = [each for each in table.on(backend) if each.version in versions]
    ready = [each.version for each in there if table.standings[each].state is State.READY]
    return max(ready or [each.version for each in there], default=None)


def list_models(urls: Mapping[str, str], limit: int, start: int) -> dict[str, Any]:
    """A page of the registered models, by name; the next page begins at `nextPageToken`."""
    names = sorted(urls)
    page: dict[str, Any] = {"nextPageToken": str(start + limit)} if start + limit < len(names) else {}
    page["models"] = [{"modelName": name, "modelUrl": urls[name]} for name in names[start : start + limit]]
    return page


def describe_worker(pid: int, started_s: float, rss_bytes: int) -> dict[str, Any]:
    """A process that is ready; `started_s` is since 1970."""
    started = datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": str(pid), "startTime": started, "status": "READY", "memoryUsage": rss_bytes, "pid": pid}


def describe(name: str, version: int, url: str, told: Mapping[str, Any], loaded_at_startup: bool) -> dict[str, Any]:
    """One version; `told` is what its backend, or Torii, knows of its processes."""
    head = {"modelName": name, "modelVersion": str(version), "modelUrl": url}
    return {
        **head,
        **{key: value for key, value in told.items() if key not in head},
        "loadedAtStartup": loaded_at_startup,
    }


def describe_processes(
    runtime: str, max_rows: int | None, timeout_ms: int, queue: tuple[int, int], workers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What Torii itself knows of a deployment; `queue` is how many wait, and how many may.

    Rows are batched as they come, without a delay, where Torii batches (`max_rows`).
    """
    batching = {"batchSize": max_rows, "maxBatchDelay": 0} if max_rows is not None else {}
    waiting, places = queue
    return {
        "runtime": runtime,
        "minWorkers": 1,
        "maxWorkers": 1,
        **batching,
        "responseTimeout": -(-timeout_ms // 1000),
        "workers": list(workers),
        "jobQueueStatus": {"remainingCapacity": max(0, places - waiting), "pendingRequests": waiting},
    }
