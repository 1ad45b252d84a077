"""The signed metadata of an edge folder (TUF): read and verified, and replaced such that clients can always verify it.

Whoever writes dies at any moment: `timestamp.json` is the last file that is written, and until then clients see what
was there before. A root is one file. What a dead writer left is deleted, or finished, by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from gateway.config import ConfigError
from gateway.edge.disk import DISK, STAGED, Disk
from gateway.edge.keys import KeyFolder
from gateway.edge.roles import RoleName, lifetime
from gateway.errors import NotAllowed
from gateway.locking import PATIENCE_S, locked

METADATA: Final = "metadata"
TARGETS: Final = "targets"
_TIMESTAMP: Final = "timestamp.json"
_MOST_BYTES: Final = 5_000_000
"""What clients of TUF take by default."""

_KEPT_VERSIONS: Final = 16
"""Of targets and snapshot: a client that has just read a timestamp may still ask for what that one names."""

AnyMetadata: TypeAlias = Metadata[Any]
Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, in whole seconds, as metadata has it."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Stored:
    """A metadata file: its bytes, and what they say."""

    data: bytes
    metadata: AnyMetadata

    @property
    def version(self) -> int:
        """Its version."""
        return int(self.metadata.signed.version)

    def described(self) -> MetaFile:
        """As a snapshot or a timestamp names it."""
        return MetaFile(self.version, len(self.data), {"sha256": hashlib.sha256(self.data).hexdigest()})


@dataclass(frozen=True, slots=True)
class State:
    """What is signed. `live` are the targets that clients see: older ones than `targets` until a snapshot follows."""

    root: Root
    targets: Stored
    live: Stored
    snapshot: Stored
    timestamp: Stored

    @property
    def is_live(self) -> bool:
        """Whether clients see the newest targets."""
        return self.live.version == self.targets.version

    def copied_targets(self) -> Targets:
        """The newest targets, to be changed."""
        return cast("Targets", Metadata.from_bytes(self.targets.data).signed)


class SignedFolder:
    """An edge folder's metadata and the files of its targets. Blocking: disk, signatures."""

    def __init__(self, edge: Path, disk: Disk = DISK, clock: Clock = utc_now, patience_s: float = PATIENCE_S) -> None:
        self.edge = edge
        self.metadata = edge / METADATA
        self.targets = edge / TARGETS
        self.disk = disk
        self.now = clock
        self._patience_s = patience_s

    @contextmanager
    def changing(self) -> Iterator[State]:
        """The state, while nobody else changes it, without what dead writers left. Raises as `read`, and Conflict."""
        if not (self.metadata / _TIMESTAMP).exists():
            raise self._not_made()
        with self.alone():
            state = self.read()
            self.prune(state)
            yield state

    @contextmanager
    def publishing(self) -> Iterator[State]:
        """The same, for who adds and removes targets: before it and after a failure, all of them are signed."""
        with self.changing() as state:
            self.tidy(state)
            try:
                yield state
            except Exception:
                with suppress(OSError, ConfigError):
                    self.tidy(self.read())
                raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The time in which nobody else writes; raises Conflict after some seconds of waiting for it."""
        with locked(self.edge / ".lock", self._patience_s):
            yield

    def read(self) -> State:
        """Read and verify what is signed; that something has expired does not matter.

        Raises NotAllowed where no repository is there, ConfigError where a file is wrong or missing, and OSError.
        """
        if not (self.metadata / _TIMESTAMP).exists():
            raise self._not_made()
        root = self._root()
        timestamp = self._read(root, "timestamp", _TIMESTAMP)
        snapshot = self._read(root, "snapshot", f"{timestamp.metadata.signed.snapshot_meta.version}.snapshot.json")
        live = self._read(root, "targets", f"{snapshot.metadata.signed.meta['targets.json'].version}.targets.json")
        newest = max(self.versions("targets"))
        targets = live if newest == live.version else self._read(root, "targets", f"{newest}.targets.json")
        return State(root, targets, live, snapshot, timestamp)

    def commit(self, state: State, keys: KeyFolder, targets: Targets | None = None, root: Root | None = None) -> bool:
        """Sign and write new targets, if there are any, a snapshot and a timestamp, by the keys of `root`.

        Where the online keys are not at hand, only targets are written: gives whether clients see them now. On OSError
        nothing has changed. Raises NotAllowed where keys are missing or cannot be opened.
        """
        root = root or state.root
        newest, files = state.targets, list[tuple[str, Stored]]()
        if targets is not None:
            targets.version = state.targets.version + 1
            newest = self.sign(root, "targets", targets, keys.signers(root, "targets"))
            files.append((f"{newest.version}.targets.json", newest))
        online = keys.has_online(root)
        if online or targets is None:
            version = max(self.versions("snapshot")) + 1
            content = Snapshot(version, meta={"targets.json": newest.described()})
            snapshot = self.sign(root, "snapshot", content, keys.signers(root, "snapshot"))
            files += [(f"{version}.snapshot.json", snapshot), self._timestamp(state, keys, snapshot, root)]
        self._write(files)
        return online

    def renew(self, state: State, keys: KeyFolder) -> None:
        """Sign the timestamp again, and nothing else."""
        self._write([self._timestamp(state, keys, state.snapshot, state.root)])

    def sign(self, root: Root, role: RoleName, signed: Signed, signers: Iterable[Signer]) -> Stored:
        """Have a role's metadata signed, from now until it expires."""
        signed.expires = self.now() + lifetime(root, role)
        metadata: AnyMetadata = Metadata(signed)
        for each in signers:
            metadata.sign(each, append=True)
        data = metadata.to_bytes()
        if len(data) > _MOST_BYTES:
            raise NotAllowed(f"{role}: {len(data):,} bytes, and clients take {_MOST_BYTES:,}; revoke versions first")
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        return Stored(data, metadata)

    def write_root(self, root: Root, signers: Iterable[Signer], before: Root | None) -> None:
        """Sign a root and write it; the one before must accept it, if there is one."""
        stored = self.sign(root, "root", root, signers)
        if before is not None:
            before.verify_delegate("root", stored.metadata.signed_bytes, stored.metadata.signatures)
        self.disk.write(self.metadata / f"{root.version}.root.json", stored.data)

    def versions(self, role: RoleName) -> list[int]:
        """The versions of a role's files, in order."""
        found = (each.name.split(".")[0] for each in self.metadata.glob(f"*.{role}.json"))
        return sorted(int(each) for each in found if each.isdecimal())

    def tidy(self, state: State) -> None:
        """Delete what a dead publisher left: targets that nobody has signed."""
        signed = {path for each in (state.live, state.targets) for path in files(each)}
        for file in self.targets.rglob("*"):
            if file.is_file() and str(file.relative_to(self.targets)) not in signed:
                self.disk.remove(file)

    def prune(self, state: State) -> None:
        """Delete what a dead writer left of the metadata, and its old versions."""
        for file in self.metadata.glob(f"{STAGED}*"):
            self.disk.remove(file)
        for role, live in (("targets", state.live), ("snapshot", state.snapshot)):
            for version in self.versions(cast("RoleName", role)):
                if version <= live.version - _KEPT_VERSIONS:
                    self.disk.remove(self.metadata / f"{version}.{role}.json")

    def _timestamp(self, state: State, keys: KeyFolder, snapshot: Stored, root: Root) -> tuple[str, Stored]:
        content = Timestamp(state.timestamp.version + 1, snapshot_meta=snapshot.described())
        return _TIMESTAMP, self.sign(root, "timestamp", content, keys.signers(root, "timestamp"))

    def _write(self, files: Iterable[tuple[str, Stored]]) -> None:
        begun: list[tuple[Path, Stored]] = []
        try:
            for name, stored in files:
                begun.append((self.metadata / name, stored))
                self.disk.write(self.metadata / name, stored.data)
        except OSError:
            file, stored = begun[-1]
            if not (file.name == _TIMESTAMP and file.read_bytes() == stored.data):
                for each, _ in begun:
                    if each.name != _TIMESTAMP:
                        self.disk.remove(each)
            raise

    def _root(self) -> Root:
        """The newest root, once each has been accepted by the one before."""
        before: Root | None = None
        for version in self.versions("root"):
            stored = self._load(f"{version}.root.json", Root)
            root: Root = stored.metadata.signed
            for judge in (before, root):
                if judge is not None:
                    self._verify(judge, "root", f"{version}.root.json", stored)
            if before is not None and (version != before.version + 1 or root.version != version):
                raise self._wrong(f"{version}.root.json", f"expected version {before.version + 1}")
            before = root
        if before is None:
            raise self._wrong("1.root.json", "it is not there")
        return before

    def _read(self, root: Root, role: RoleName, name: str) -> Stored:
        kinds = {"targets": Targets, "snapshot": Snapshot, "timestamp": Timestamp}
        stored = self._load(name, kinds[role])
        self._verify(root, role, name, stored)
        return stored

    def _load(self, name: str, kind: type[Any]) -> Stored:
        try:
            with (self.metadata / name).open("rb") as stream:
                data = stream.read(_MOST_BYTES + 1)
            metadata: AnyMetadata = Metadata.from_bytes(data)
        except FileNotFoundError:
            raise self._wrong(name, "it is not there") from None
        except DeserializationError as error:
            raise self._wrong(name, f"{error}: {error.__cause__}") from None
        if not isinstance(metadata.signed, kind):
            raise self._wrong(name, f"expected {kind.__name__.lower()}, got {metadata.signed.type}")
        return Stored(data, metadata)

    def _verify(self, root: Root, role: RoleName, name: str, stored: Stored) -> None:
        try:
            root.verify_delegate(role, stored.metadata.signed_bytes, stored.metadata.signatures)
        except RepositoryError as error:
            raise self._wrong(name, str(error)) from None

    def _wrong(self, name: str, what: str) -> ConfigError:
        return ConfigError(f"{self.metadata / name}: {what:.300}; bring it back from a backup")

    def _not_made(self) -> NotAllowed:
        return NotAllowed(
            f"{self.edge}: no repository is there, or its making was cut short; torii edge init {self.edge}"
        )


def files(targets: Stored) -> dict[str, int]:
    """The files of targets, as they lie below their folder, and their sizes."""
    found: dict[str, TargetFile] = targets.metadata.signed.targets
    return {path: each.length for each in found.values() for path in each.get_prefixed_paths()}
