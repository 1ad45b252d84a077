"""What a repository would be served as, without loading anything: `torii check`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from adapters.base import BACKENDS
from gateway.plans import Plan, Planner
from gateway.repository import Problem, scan
from gateway.terminal.tables import size
from gateway.versions import Wish

_PACKAGES = {
    "onnxruntime": ("onnxruntime",),
    "tflite": ("ai_edge_litert", "tflite_runtime"),
    "tfserving": ("tensorflow_serving",),
    "torchserve": ("ts",),
}


def inspect(repository: Path) -> tuple[list[tuple[str, str, str, str]], list[Problem]]:
    """Rows (deployment, artifact, size, remark) and every mistake found; raises OSError."""
    snapshot = scan(repository)
    plans = Planner(BACKENDS, settle_s=0).plan(snapshot, monotonic_s=0)
    rows = [_row(plan) for _, plan in sorted(plans.items())]
    return rows, snapshot.all_problems()


def _row(plan: Plan) -> tuple[str, str, str, str]:
    artifact = plan.files.path.relative_to(plan.folder.parent).as_posix()
    size_bytes = sum(file.size_bytes for file in plan.files.files)
    return str(plan.deployment), artifact, size(size_bytes), _remark(plan)


def _remark(plan: Plan) -> str:
    if plan.problem:
        return f"would fail: {plan.problem}"
    if plan.wanted.wish is Wish.SPARE:
        return "left out by versions in model.toml"
    if not any(find_spec(package) for package in _PACKAGES[plan.deployment.backend]):
        return "its runtime is not installed here"
    return ""
