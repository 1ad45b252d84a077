"""Bundles come into the repository, and are taken out of it: by the offline keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuf.api.metadata import Targets

from adapters.errors import InvalidInput
from gateway.bundles.archive import MOST_BYTES
from gateway.bundles.opening import open_bundle, opened
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.channels import without
from gateway.edge.deltas import Differ, make_delta
from gateway.edge.disk import STAGED
from gateway.edge.keys import KeyFolder
from gateway.edge.listing import Listed, bundles, delta_entry, deltas, stored_at
from gateway.edge.signed import SignedFolder
from gateway.errors import Conflict, ModelNotFound

_MOST_DELTAS: Final = 4
"""From so many older versions at most: each takes a minute of work, and room."""


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle that is signed now. `told` is what became of deltas; `live` is whether clients see it already."""

    bundle: Listed
    live: bool
    new: bool
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoked:
    """Paths that are signed no more, and the channels that were moved, as model's channel and its version now."""

    paths: tuple[str, ...]
    moved: tuple[tuple[str, int | None], ...]
    live: bool


class Publisher:
    """Publishes to an edge folder, and revokes. Blocking: disk, signatures, and deltas, which take minutes."""

    def __init__(
        self,
        folder: SignedFolder,
        keys: KeyFolder,
        channels: ChannelFolder,
        differ: Differ = make_delta,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._channels = channels
        self._differ = differ
        self._most_bytes = most_bytes

    def publish(self, file: Path, min_ram_mb: int | None = None) -> Published:
        """Copy a bundle into the repository, with deltas from older versions that devices have, and sign it.

        Raises InvalidInput for what is no bundle, Conflict where another one has its path or somebody else writes,
        NotAllowed for keys, ConfigError for a folder that is wrong, OSError: then nothing has changed.
        """
        with self._folder.publishing() as state:
            self._keys.signers(state.root, "targets")
            staged = self._folder.targets / f"{STAGED}bundle.zip"
            with opened(file, self._most_bytes) as stream:
                digest = self._folder.disk.copy(stream, staged, self._most_bytes)
            bundle = self._checked(staged, digest, file.name, min_ram_mb)
            targets = state.copied_targets()
            if self._is_there(targets, bundle):
                self._folder.disk.remove(staged)
                live = state.is_live or (self._keys.has_online(state.root) and self._folder.commit(state, self._keys))
                return Published(bundle, live, new=False)
            self._place(staged, bundle.path, bundle.sha256)
            targets.targets[bundle.path] = bundle.entry()
            told = tuple(self._delta(targets, old, bundle) for old in self._older(targets, bundle))
            return Published(bundle, self._folder.commit(state, self._keys, targets), new=True, told=told)

    def revoke(self, model: str, version: int, reason: str) -> Revoked:
        """Take a version out of all channels, then out of what is signed, with deltas that make it; delete its files.

        Deltas that lead away from it stay: by them, devices get rid of it. Raises ModelNotFound where it is neither
        published nor in a channel, and what `publish` raises.
        """
        with self._folder.publishing() as state:
            self._keys.signers(state.root, "targets")
            targets = state.copied_targets()
            paths = _paths_of(targets, model, version)
            seen = _paths_of(state.live.metadata.signed, model, version)
            moved = tuple(self._moved(model, version, reason))
            if not paths and not seen and not moved:
                raise ModelNotFound(
                    f"{model}/{version} is neither published nor in a channel; torii edge status shows all"
                )
            for each in paths:
                del targets.targets[each]
            live = not seen
            if paths or (seen and self._keys.has_online(state.root)):
                live = self._folder.commit(state, self._keys, targets if paths else None)
                self._folder.tidy(self._folder.read())
            return Revoked(paths or seen, moved, live)

    def _checked(self, staged: Path, digest: str, name: str, min_ram_mb: int | None) -> Listed:
        """What a bundle is, once every byte of its copy has been checked."""
        try:
            found = open_bundle(staged, self._most_bytes)
        except InvalidInput as error:
            raise InvalidInput(f"{str(error).replace(staged.name, name)}; nothing was published") from None
        manifest = found.manifest
        return Listed(
            path=f"{manifest.model}/{manifest.version}/{manifest.file_name}",
            sha256=digest,
            size_bytes=found.size_bytes,
            model=manifest.model,
            version=manifest.version,
            target=manifest.target,
            runtime=manifest.runtime,
            precision=manifest.precision,
            min_app=manifest.min_app,
            min_ram_mb=min_ram_mb,
            manifest_sha256=found.manifest_digest,
        )

    def _is_there(self, targets: Targets, bundle: Listed) -> bool:
        there = targets.targets.get(bundle.path)
        if there is not None and there.hashes["sha256"] != bundle.sha256:
            raise Conflict(
                f"{bundle.path} is published already, with other content; a bundle never changes: publish it as "
                f"another version, or torii edge revoke {bundle.model}/{bundle.version} first"
            )
        if there is not None and bundle.entry() != there:
            raise Conflict(f"{bundle.path} is published already, with other requirements; revoke it first")
        return there is not None

    def _place(self, staged: Path, path: str, sha256: str) -> None:
        file = stored_at(self._folder.targets, path, sha256)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._folder.disk.rename(staged, file)
        for each in list(file.parents)[: path.count("/") + 1]:
            self._folder.disk.sync(each)

    def _older(self, targets: Targets, bundle: Listed) -> list[Listed]:
        """What devices of the same platform and runtime have: versions of channels, and the one published before."""
        versions = set[int]()
        try:
            for each in self._channels.read(bundle.model).channels.values():
                versions |= each.versions() | {one.current for one in each.former[-1:] if one.current}
        except ModelNotFound:
            pass
        same = [
            each
            for each in bundles(targets)
            if (each.model, each.target, each.runtime) == (bundle.model, bundle.target, bundle.runtime)
            and each.version != bundle.version
        ]
        versions |= {each.version for each in [one for one in same if one.version < bundle.version][-1:]}
        return [each for each in same if each.version in versions][-_MOST_DELTAS:]

    def _delta(self, targets: Targets, old: Listed, new: Listed) -> str:
        """Make a delta, if it is worth it; gives what became of it."""
        files, staged = self._folder.targets, self._folder.targets / f"{STAGED}delta.bsdiff"
        older, newer = (stored_at(files, each.path, each.sha256) for each in (old, new))
        why_not = self._differ(older, newer, staged)
        if why_not:
            return f"no delta from version {old.version}: {why_not}"
        kept = self._folder.targets / f"{STAGED}delta"
        with staged.open("rb") as stream:
            digest = self._folder.disk.copy(stream, kept, self._most_bytes)
        size = kept.stat().st_size
        entry = delta_entry(old, new, digest, size)
        self._place(kept, entry.path, digest)
        targets.targets[entry.path] = entry
        self._folder.disk.remove(staged)
        return f"delta from version {old.version}: {size:,} bytes, {size / new.size_bytes:.0%} of the whole"

    def _moved(self, model: str, version: int, reason: str) -> Iterator[tuple[str, int | None]]:
        try:
            names = list(self._channels.read(model).channels)
        except ModelNotFound:
            return
        now = self._folder.now()
        for name in names:
            before = self._channels.read(model).channel(name)
            after = self._channels.change(model, name, lambda each: without(each, [version], reason, now))
            if after != before:
                yield name, after.current


def _paths_of(targets: Targets, model: str, version: int) -> tuple[str, ...]:
    paths = {each.path for each in bundles(targets) if (each.model, each.version) == (model, version)}
    return tuple(sorted(paths | {each.path for each, _, to in deltas(targets) if to in paths}))
