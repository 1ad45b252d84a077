"""V2's statistics extension: deployments' statistics, as one entry for each version that was asked about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.errors import ModelNotFound
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment, Target


def describe_statistics(
    statistics: Mapping[Deployment, StatisticsSnapshot], target: Target | None, name: str = ""
) -> dict[str, Any]:
    """The body of `GET /v2/models[/{model}[/versions/{version}]]/stats`; None as target is all models.

    `name` is how the model was asked for. Backends of one version are added up, unless one was asked for.

    Raises:
        ModelNotFound: nothing of that name has been loaded.
    """
    asked = {each: snapshot for each, snapshot in statistics.items() if target is None or _is_meant(each, target)}
    if target is not None and not asked:
        raise ModelNotFound(f"no statistics of model '{name or target.model}': no deployment of it has been loaded")
    versions: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for each in sorted(asked):
        versions.setdefault((each.model, each.version), []).append(asdict(asked[each]))
    return {
        "model_stats": [
            {"name": name or model, "version": str(version), **_sum(snapshots)}
            for (model, version), snapshots in versions.items()
        ]
    }


def _is_meant(deployment: Deployment, target: Target) -> bool:
    return (
        deployment.model == target.model
        and target.version in (None, deployment.version)
        and target.backend in (None, deployment.backend)
    )


def _sum(snapshots: list[dict[str, Any]]) -> dict[str, Any]:
    """One of all, by name: counts and times add up, the last inference is the latest one."""
    total: dict[str, Any] = {}
    for key in snapshots[0]:
        values = [each[key] for each in snapshots]
        if key == "batch_stats":
            total[key] = _sum_batches(batch for batches in values for batch in batches)
        elif key == "last_inference":
            total[key] = max(values)
        elif isinstance(values[0], dict):
            total[key] = _sum(values)
        else:
            total[key] = sum(values)
    return total


def _sum_batches(batches: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    by_size: dict[int, list[dict[str, Any]]] = {}
    for batch in batches:
        by_size.setdefault(batch["batch_size"], []).append(batch)
    return [{**_sum(each), "batch_size": size} for size, each in sorted(by_size.items())]
