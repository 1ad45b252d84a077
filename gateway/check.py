"""What a repository would be served as, without loading anything: `torii check`."""

from __future__ import annotations

from pathlib import Path

from gateway.backends import build_adapters
from gateway.config import Settings
from gateway.plans import Plan, Planner
from gateway.repository import Problem, scan
from gateway.terminal.tables import size
from gateway.versions import Wish


def inspect(repository: Path, settings: Settings) -> tuple[list[tuple[str, str, str, str]], list[Problem]]:
    """Rows (deployment, artifact, size, remark) and every mistake found; raises OSError."""
    snapshot = scan(repository)
    adapters = build_adapters(settings, repository, lambda *_: None)
    missing = {backend: adapter.missing() for backend, adapter in adapters.items()}
    plans = Planner(tuple(adapters), settle_s=0).plan(snapshot, monotonic_s=0)
    rows = [_row(plan, missing[deployment.executor], settings) for deployment, plan in sorted(plans.items())]
    return rows, snapshot.all_problems()


def _row(plan: Plan, missing: str | None, settings: Settings) -> tuple[str, str, str, str]:
    artifact = plan.files.path.relative_to(plan.folder.parent).as_posix()
    size_bytes = sum(file.size_bytes for file in plan.files.files)
    return str(plan.deployment), artifact, size(size_bytes), _remark(plan, missing, settings)


def _remark(plan: Plan, missing: str | None, settings: Settings) -> str:
    if plan.problem:
        return f"would fail: {plan.problem}"
    if plan.wanted.wish is Wish.SPARE:
        return "left out by versions in model.toml"
    if missing:
        return f"would fail here: {missing}"
    if plan.files.path.suffix == ".mar" and not settings.allow_code:
        return "would fail: a .mar brings Python code, and allow_code is not set"
    return ""
