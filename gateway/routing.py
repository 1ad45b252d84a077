"""Which deployment a request goes to: a pure function of the request's target and the model's table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.errors import ModelNotFound, VersionNotReady
from gateway.types import Deployment, ModelTable, State, Target

_NAMES_SHOWN = 20
_STABLE = "stable"


def choose(target: Target, tables: Mapping[str, ModelTable]) -> Deployment:
    """The ready deployment that answers a target.

    Version: as asked for; else the label `stable` where it is set; else the newest that has a ready deployment.
    Backend: as pinned; else the first ready one in the model's order. A variant that is not in that order (a quantized
    model beside the plain one) answers where it is pinned, or where its version has nothing else. What is pinned and
    not ready is an error: an answer from elsewhere would spoil a comparison.

    Raises:
        ModelNotFound: the model, version, label or backend does not exist.
        VersionNotReady: it exists, but is not ready.
    """
    table = tables.get(target.model)
    if table is None:
        raise ModelNotFound(f"model '{target.model}' is not in the repository; there are: {_list(sorted(tables))}")
    version = _pinned_version(target, table)
    candidates = [each for each in table.on(target.backend) if version in (None, each.version)]
    ready = [each for each in candidates if table.standings[each].state is State.READY]
    if ready:
        order = {backend: rank for rank, backend in enumerate(table.backends)}
        return min(ready, key=lambda each: (-each.version, order.get(each.backend, len(order)), each.backend))
    raise _not_ready(candidates, table) if candidates else _not_found(target, version, table)


def _pinned_version(target: Target, table: ModelTable) -> int | None:
    if target.version is not None:
        return target.version
    label = target.label or _STABLE
    if label in table.labels:
        return table.labels[label]
    if target.label is not None:
        raise ModelNotFound(
            f"model '{table.name}' has no label '{target.label:.64}'; there are: {_list(sorted(table.labels))}"
        )
    return None


def _not_ready(candidates: list[Deployment], table: ModelTable) -> VersionNotReady:
    def say(deployment: Deployment) -> str:
        standing = table.standings[deployment]
        return f"{deployment} is {standing.state}" + (f": {standing.reason}" if standing.reason else "")

    return VersionNotReady("; ".join(say(each) for each in sorted(candidates)[:_NAMES_SHOWN]))


def _not_found(target: Target, version: int | None, table: ModelTable) -> ModelNotFound:
    versions = table.versions()
    if version is not None and version not in versions:
        return ModelNotFound(f"model '{table.name}' has no version {version}; there are: {_list(map(str, versions))}")
    if target.backend is not None:
        where = f"{table.name}/{version}" if version else table.name
        there = {each.backend for each in table.standings if version in (None, each.version)}
        return ModelNotFound(f"{where} has no deployment on '{target.backend}'; there are: {_list(sorted(there))}")
    return ModelNotFound(f"model '{table.name}' has no version that could be served")


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return (", ".join(shown[:_NAMES_SHOWN]) + more) if shown else "none"
