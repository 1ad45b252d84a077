"""From a snapshot of the repository to what each deployment needs in order to be loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.base import Artifact
from gateway.artifacts import GOLDEN, ArtifactFiles, VersionFiles, digest
from gateway.config import ModelConfig
from gateway.directives import Directive, Directives
from gateway.repository import ModelEntry, Problem, Snapshot
from gateway.types import Deployment, Serving
from gateway.versions import Fingerprint, Settling, Wanted, Wish, backend_order, kept_versions, used_backends

_NOTHING_ASKED: Directives = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment as the repository wants it.

    `settings` is all that matters to a load besides the files' content; `problem` says why it cannot be loaded, where
    that is plain already.
    """

    deployment: Deployment
    folder: Path
    files: ArtifactFiles
    golden: Path | None
    config: ModelConfig
    settings: Fingerprint
    problem: str | None
    wanted: Wanted

    def serving(self, digest_hex: str) -> Serving:
        """What frontends are told."""
        config = self.config
        # A file answers in other ways under other options.
        options = config.backend.options(self.deployment.backend)
        digest_hex += f" {options}" if options else ""
        return Serving(config.limits.limits(), config.batching.batching(), config.cache.caching(), digest_hex)

    def digest(self) -> str:
        """SHA-256 of the artifact's files; reads them all; raises OSError."""
        return digest(self.folder, self.files.files)

    def artifact(self, digest_hex: str) -> Artifact:
        """What the adapter is told to load."""
        return Artifact(
            self.deployment.model,
            self.deployment.version,
            self.deployment.backend,
            self.files.path.resolve(),
            digest_hex,
            self.config.backend.options(self.deployment.backend),
            self.golden.resolve() if self.golden else None,
            self.config.signature.signature() if self.config.signature else None,
            self.config.batching.batching(),
            self.config.limits.timeout_ms,
        )


class Planner:
    """Turns snapshots into plans; remembers, of each model, the last model.toml and labels.toml that were right."""

    def __init__(self, backends: tuple[str, ...], settle_s: float) -> None:
        self._backends = backends
        self._settling = Settling(settle_s)
        self._configs: dict[str, ModelConfig] = {}
        self._labels: dict[str, Mapping[str, int]] = {}

    def plan(
        self, snapshot: Snapshot, monotonic_s: float, directives: Directives = _NOTHING_ASKED
    ) -> dict[Deployment, Plan]:
        """Every deployment that there is something to load for, with what is wanted of it; labelled versions first."""
        plans: dict[Deployment, Plan] = {}
        for model in snapshot.models.values():
            plans.update(self._plan_model(model, monotonic_s, directives.get(model.name, Directive())))
        self._settling.forget_all_but((plan.deployment.model, plan.deployment.version) for plan in plans.values())
        return dict(sorted(plans.items(), key=lambda item: item[0].version not in self.labels(item[0].model).values()))

    def order(self, model: str) -> tuple[str, ...]:
        """The backends of a model, the preferred first; variants only where model.toml names them."""
        return backend_order(self._configs.get(model, ModelConfig()), self._backends)

    def labels(self, model: str) -> Mapping[str, int]:
        """A model's labels; while its labels.toml is wrong or cannot be read, those that it had."""
        return self._labels.get(model, {})

    def _plan_model(self, model: ModelEntry, monotonic_s: float, directive: Directive) -> dict[Deployment, Plan]:
        config, problem = self._take_settings(model)
        config = directive.applied(config)
        order = backend_order(config, self._backends)
        usable = (number for number, each in model.versions.items() if used_backends(order, each.artifacts))
        kept = kept_versions(config.versions, filter(directive.serves, usable))
        labelled = set(self.labels(model.name).values())
        plans: dict[Deployment, Plan] = {}
        for number, version in {**directive.leaving, **model.versions}.items():
            complete = self._settling.complete((model.name, number), version.changed_ns, time.time(), monotonic_s)
            wish = Wish.SERVE if complete else Wish.WAIT
            if number not in model.versions:
                wish = Wish.STAY
            elif number not in kept and number not in labelled:
                wish = Wish.SPARE
            for backend in used_backends(order, version.artifacts):
                deployment = Deployment(model.name, number, backend)
                plans[deployment] = _plan(deployment, version, config, problem, wish, number not in kept)
        return plans

    def _take_settings(self, model: ModelEntry) -> tuple[ModelConfig, str | None]:
        """The settings that count, and why the model cannot be served by any, if so."""
        if model.labels is not None:
            self._labels[model.name] = model.labels
        problem: str | None = None
        if model.config is not None:
            self._configs[model.name] = model.config
        elif model.name not in self._configs:
            problem = _config_problem(model.problems)
        return self._configs.get(model.name, ModelConfig()), problem


def _plan(
    deployment: Deployment, version: VersionFiles, config: ModelConfig, problem: str | None, wish: Wish, by_label: bool
) -> Plan:
    files = version.artifacts[deployment.backend]
    golden = version.path / GOLDEN if version.golden and not version.golden.is_link else None
    settings: Fingerprint = (
        str(files.path),
        config.batching,
        config.limits,
        config.cache,
        config.signature,
        str(config.backend.options(deployment.backend)),
        (version.golden.size_bytes, version.golden.mtime_ns) if version.golden else None,
    )
    wanted = Wanted(wish, (settings, files.files, files.problem, problem), by_label)
    return Plan(deployment, version.path, files, golden, config, settings, problem or files.problem, wanted)


def _config_problem(problems: tuple[Problem, ...]) -> str:
    return "; ".join(str(problem) for problem in problems if problem.where.endswith("model.toml"))


def wishes(plans: Mapping[Deployment, Plan], directives: Directives = _NOTHING_ASKED) -> dict[Deployment, Wanted]:
    """The plans as versions.next_steps takes them, less what was unloaded by request."""
    wanted = {deployment: plan.wanted for deployment, plan in plans.items()}
    for deployment in plans:
        if not directives.get(deployment.model, Directive()).serves(deployment.version):
            wanted[deployment] = replace(wanted[deployment], wish=Wish.WITHDRAWN)
    return wanted
