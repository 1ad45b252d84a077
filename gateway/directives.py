"""What was asked of a model by name, over what its folder in the repository says: pure data and its changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gateway.artifacts import VersionFiles
from gateway.config import BatchingConfig, ModelConfig, Policy
from gateway.repository import ModelEntry, Snapshot


@dataclass(frozen=True, slots=True)
class Directive:
    """One model's.

    `withdrawn` is whether its versions are unloaded by request, `exceptions` are those of which the opposite holds.
    `max_rows` and `versions` stand in for what model.toml says, `upload` for the whole folder. `leaving` are versions
    of what was served before that are not there now: what serves of them goes on until the load is over.
    """

    withdrawn: bool = False
    exceptions: frozenset[int] = frozenset()
    max_rows: int | None = None
    versions: Policy | None = None
    upload: ModelEntry | None = None
    leaving: Mapping[int, VersionFiles] = field(default_factory=dict)

    @property
    def overrides(self) -> bool:
        """Whether something else is served than the repository has."""
        return self.upload is not None or self.max_rows is not None or self.versions is not None

    def serves(self, version: int) -> bool:
        """Whether a version was not unloaded by request."""
        return self.withdrawn == (version in self.exceptions)

    def loaded(self, version: int | None) -> Directive:
        """The directive once a version, or all of them, may be served; nothing is overridden any more."""
        if version is None:
            return Directive()
        return Directive(self.withdrawn, self._except(version, self.withdrawn))

    def unloaded(self, version: int | None) -> Directive:
        """The directive once a version is unloaded; or all are, with whatever was uploaded."""
        if version is None:
            return Directive(withdrawn=True)
        return replace(self, exceptions=self._except(version, not self.withdrawn))

    def _except(self, version: int, is_exception: bool) -> frozenset[int]:
        return self.exceptions | {version} if is_exception else self.exceptions - {version}

    def applied(self, config: ModelConfig) -> ModelConfig:
        """A model's settings with what stands in for them."""
        changes: dict[str, object] = {}
        if self.max_rows is not None:
            changes["batching"] = BatchingConfig(max_rows=self.max_rows)
        if self.versions is not None:
            changes["versions"] = self.versions
        return config.model_copy(update=changes) if changes else config


Directives: TypeAlias = Mapping[str, Directive]


def overlaid(snapshot: Snapshot, directives: Directives) -> Snapshot:
    """The repository with uploads in the place of its models."""
    uploads = {name: each.upload for name, each in directives.items() if each.upload is not None}
    if not uploads:
        return snapshot
    return replace(snapshot, models={**snapshot.models, **uploads}, unreadable=snapshot.unreadable - uploads.keys())
