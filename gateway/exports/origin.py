"""Where an export starts: a version's folder, and what its model.toml says of a model that does not say it itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters.tensors import Signature
from gateway.errors import ModelNotFound
from gateway.repository import ModelEntry


@dataclass(frozen=True, slots=True)
class Origin:
    """A version's folder, and the signature that is declared for it."""

    folder: Path
    declared: Signature | None = None


def origin(entry: ModelEntry, version: int) -> Origin:
    """A version of a model in the repository; raises ModelNotFound."""
    if version not in entry.versions:
        there = ", ".join(map(str, entry.versions)) or "none"
        raise ModelNotFound(f"model '{entry.name}' has no version {version}; there are: {there:.200}")
    config = entry.config
    declared = config.signature.signature() if config and config.signature else None
    return Origin(entry.versions[version].path, declared)
