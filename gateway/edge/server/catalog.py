"""What an edge folder offers at a moment: metadata, bundles and deltas that are signed, and channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import ConfigError
from gateway.edge.channel_file import ChannelFile
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.devices import Device, enough
from gateway.edge.server.metadata_folder import Metadata, Stamp, read_metadata
from gateway.errors import ModelNotFound

TARGETS = "targets"


class Target(msgspec.Struct, frozen=True, gc=False):
    """A signed file: its path in the list, its SHA-256 in hex and its length in bytes."""

    path: str
    sha256: str
    length: int

    @property
    def name(self) -> str:
        """How TUF's clients ask for it, and where it lies: with its digest before the file's name."""
        folder, slash, name = self.path.rpartition("/")
        return f"{folder}{slash}{self.sha256}.{name}"


class Bundle(msgspec.Struct, frozen=True, gc=False):
    """A target that is a version of a model for a platform, as `android`, and a runtime."""

    target: Target
    model: str
    version: int
    platform: str
    runtime: str
    min_app: str | None
    min_ram_mb: int | None


@dataclass(frozen=True, slots=True)
class Catalog:
    """`targets` by the name that is asked for, `bundles` by model and version, `by_path` by their target's path.

    `deltas` by the digest of what they are for and the path of what they make; `channels` by model; `problems` are
    what is wrong with the folder, where the last right state counts.
    """

    metadata: Metadata = field(default_factory=Metadata)
    targets: Mapping[str, Target] = field(default_factory=dict)
    bundles: Mapping[tuple[str, int], tuple[Bundle, ...]] = field(default_factory=dict)
    by_path: Mapping[str, Bundle] = field(default_factory=dict)
    deltas: Mapping[tuple[str, str], Target] = field(default_factory=dict)
    channels: Mapping[str, ChannelFile] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def channel_file(self, model: str) -> ChannelFile:
        """A model's channels; raises ModelNotFound."""
        if model not in self.channels:
            raise ModelNotFound(f"model {model!r:.80} has no channels here")
        return self.channels[model]

    def bundle(self, model: str, version: int, device: Device) -> Bundle | None:
        """The bundle of a version that a device can take; None where there is none."""
        found = self.bundles.get((model, version), ())
        for platform in device.platforms:
            for each in found:
                fits = each.platform == platform and device.runtime in ("", each.runtime)
                if fits and enough(device, each.min_app, each.min_ram_mb):
                    return each
        return None


def read_catalog(folder: Path, before: Catalog) -> Catalog:
    """The folder as it is now; of what is wrong in it, what was there before. Blocking; raises nothing."""
    problems: list[str] = []
    catalog = before
    try:
        metadata = read_metadata(folder / "metadata", before.metadata)
        if metadata.stamps != before.metadata.stamps:
            catalog = _listed(catalog, metadata)
    except (OSError, ConfigError) as error:
        problems.append(_said(error))
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(f"metadata: expected what TUF's roles have, got something else: {error!r:.200}")
    channels, stamps = _channels(folder, before, problems)
    return replace(catalog, channels=channels, stamps=stamps, problems=tuple(problems))


def _channels(folder: Path, before: Catalog, problems: list[str]) -> tuple[dict[str, ChannelFile], dict[str, Stamp]]:
    files = ChannelFolder(folder)
    channels: dict[str, ChannelFile] = {}
    stamps: dict[str, Stamp] = {}
    for model in files.models():
        try:
            told = files.path(model).stat()
            stamps[model] = told.st_mtime_ns, told.st_size, told.st_ino
            if before.stamps.get(model) == stamps[model]:
                channels[model] = before.channels[model]
            else:
                channels[model] = files.read(model)
        except (OSError, ConfigError, ModelNotFound) as error:
            problems.append(_said(error))
            stamps.pop(model, None)
            if model in before.channels:
                channels[model] = before.channels[model]
    return channels, stamps


def _listed(before: Catalog, metadata: Metadata) -> Catalog:
    targets: dict[str, Target] = {}
    bundles: dict[tuple[str, int], tuple[Bundle, ...]] = {}
    by_path: dict[str, Bundle] = {}
    deltas: dict[tuple[str, str], Target] = {}
    for target, custom in _targets(metadata):
        targets[target.name] = target
        if "from_sha256" in custom:
            deltas[custom["from_sha256"], custom["to"]] = target
        elif "model" in custom:
            bundle = _bundle(target, custom)
            key = bundle.model, bundle.version
            bundles[key] = (*bundles.get(key, ()), bundle)
            by_path[target.path] = bundle
    return replace(before, metadata=metadata, targets=targets, bundles=bundles, by_path=by_path, deltas=deltas)


def _targets(metadata: Metadata) -> Iterator[tuple[Target, Mapping[str, Any]]]:
    """Of all roles that sign targets; what two sign, the first has said."""
    seen: set[str] = set()
    for role, signed in metadata.roles.items():
        if signed["_type"] != "targets":
            continue
        for path, told in signed["targets"].items():
            if path in seen:
                continue
            seen.add(path)
            try:
                target = Target(path, told["hashes"]["sha256"], told["length"])
            except (KeyError, TypeError) as error:
                raise ConfigError(f"{role}: target {path!r:.200}: {error!r:.100}") from None
            if not _within(target):
                raise ConfigError(f"{role}: target {path!r:.200}: expected a path below targets/")
            yield target, told.get("custom") or {}


def _within(target: Target) -> bool:
    parts = target.name.split("/")
    return all(each not in ("", ".", "..") and "\0" not in each and "\\" not in each for each in parts)


def _bundle(target: Target, custom: Mapping[str, Any]) -> Bundle:
    try:
        return msgspec.convert(
            {"min_app": None, "min_ram_mb": None, **custom, "target": target, "platform": custom["target"]}, Bundle
        )
    except (msgspec.ValidationError, KeyError) as error:
        raise ConfigError(f"target {target.path!r:.200}: custom: {error}") from None


def _said(error: Exception) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
