"""V2's statistics extension: deployments' statistics, as one entry for each version that was asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gateway.errors import ModelNotFound
from gateway.statistics import StatisticsSnapshot, merged
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
    versions: dict[tuple[str, int], list[StatisticsSnapshot]] = {}
    for each in sorted(asked):
        versions.setdefault((each.model, each.version), []).append(asked[each])
    return {
        "model_stats": [
            {"name": name or model, "version": str(version), **_theirs(merged(snapshots))}
            for (model, version), snapshots in versions.items()
        ]
    }


def _is_meant(deployment: Deployment, target: Target) -> bool:
    return (
        deployment.model == target.model
        and target.version in (None, deployment.version)
        and target.backend in (None, deployment.backend)
    )


def _theirs(snapshot: StatisticsSnapshot) -> dict[str, Any]:
    """The part of it that V2 knows."""
    return {
        "inference_count": snapshot.inference_count,
        "execution_count": snapshot.execution_count,
        "last_inference": snapshot.last_inference,
        "inference_stats": asdict(snapshot.inference_stats),
        "batch_stats": [asdict(each) for each in snapshot.batch_stats],
    }
