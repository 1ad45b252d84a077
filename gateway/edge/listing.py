"""What targets metadata says: bundles, and the deltas between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile, Targets

from gateway.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class Listed:
    """A bundle. `target` is the platform that it is for."""

    path: str
    sha256: str
    size_bytes: int
    model: str
    version: int
    target: str
    runtime: str
    precision: str
    min_app: str | None
    min_ram_mb: int | None
    manifest_sha256: str

    def entry(self) -> TargetFile:
        """As it is signed."""
        custom = {
            name: getattr(self, name)
            for name in (
                "model", "version", "target", "runtime", "precision", "min_app", "min_ram_mb", "manifest_sha256"
            )
        }  # fmt: skip
        return TargetFile(self.size_bytes, {"sha256": self.sha256}, self.path, {"custom": custom})

    def delta_path(self, old: Listed) -> str:
        """The path of the delta that makes this one out of an older one."""
        return f"{self.path.removesuffix('.zip')}.from-{old.sha256[:16]}.bsdiff"


def delta_entry(old: Listed, new: Listed, sha256: str, size_bytes: int) -> TargetFile:
    """A delta as it is signed."""
    custom = {"from_sha256": old.sha256, "to": new.path}
    return TargetFile(size_bytes, {"sha256": sha256}, new.delta_path(old), {"custom": custom})


def bundles(targets: Targets) -> list[Listed]:
    """The bundles, by model, version and platform."""
    found = [_listed(each, custom) for each, custom in _customs(targets) if "model" in custom]
    return sorted(found, key=lambda each: (each.model, each.version, each.target))


def deltas(targets: Targets) -> list[tuple[TargetFile, str, str]]:
    """The deltas, with the digest of what each is from, and the path of what it makes."""
    return [(each, custom["from_sha256"], custom["to"]) for each, custom in _customs(targets) if "to" in custom]


def of_version(targets: Targets, model: str, version: int) -> list[Listed]:
    """A version's bundles; raises ModelNotFound, which says what there is."""
    there = bundles(targets)
    found = [each for each in there if (each.model, each.version) == (model, version)]
    if not found:
        versions = sorted({f"{each.model}/{each.version}" for each in there})
        listed = ", ".join(versions) or "nothing"
        raise ModelNotFound(f"{model}/{version} is not published; there is {listed}; torii edge publish adds a bundle")
    return found


def stored_at(folder: Path, path: str, sha256: str) -> Path:
    """Where a target's file lies: its name begins with its digest (consistent snapshots)."""
    head, _, name = path.rpartition("/")
    return folder / head / f"{sha256}.{name}"


def _customs(targets: Targets) -> Iterator[tuple[TargetFile, dict[str, Any]]]:
    for each in targets.targets.values():
        yield each, each.custom or {}


def _listed(entry: TargetFile, custom: dict[str, Any]) -> Listed:
    return Listed(
        path=entry.path,
        sha256=entry.hashes["sha256"],
        size_bytes=entry.length,
        model=custom["model"],
        version=custom["version"],
        target=custom["target"],
        runtime=custom["runtime"],
        precision=custom["precision"],
        min_app=custom.get("min_app"),
        min_ram_mb=custom.get("min_ram_mb"),
        manifest_sha256=custom["manifest_sha256"],
    )
