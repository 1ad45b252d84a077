"""What a device keeps: the model in use, the last good one, and notes. Its files are swapped whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from torii_edge.bundle import intact
from torii_edge.durable import move_folder, remove_folder, replace_file, sole, write, written
from torii_edge.errors import EdgeError, NotInstalled
from torii_edge.manifest import Manifest

BUNDLE: Final = "bundle.zip"
_RELEASE: Final = "release.json"
_CURRENT: Final = "current.json"
_NOTES: Final = "notes.json"
_ID: Final = "id"
_MOST_DECLINED: Final = 16


@dataclass(frozen=True)
class Release:
    """An installed bundle: what was signed of it, and where it lies."""

    folder: Path
    model: str
    version: int
    target: str
    sha256: str
    channel: str

    @property
    def manifest(self) -> Manifest:
        """Its manifest; raises Refused and OSError."""
        return Manifest.read(self.folder)


@dataclass
class Notes:
    """What else is worth knowing the next time.

    `declined` are the digests of bundles that are not to be tried again until a time; `attempts` counts self-checks
    that began and of which no end is known.
    """

    poll_s: float | None = None
    refreshed_at: float = 0.0
    signed: bool = True
    declined: dict[str, tuple[float | None, str]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    def decline(self, sha256: str, reason: str, for_s: float | None) -> None:
        """Do not try a bundle again for so long; None: as long as it is what the server offers."""
        self.declined[sha256] = (None if for_s is None else time.time() + for_s, reason[:300])
        self.attempts.pop(sha256, None)
        while len(self.declined) > _MOST_DECLINED:
            del self.declined[next(iter(self.declined))]

    def why_declined(self, sha256: str) -> str | None:
        """Why a bundle is not to be tried now; None where it may be."""
        until, reason = self.declined.get(sha256, (0.0, ""))
        return reason if until is None or time.time() < until else None


class Store:
    """A model's folder on the device. One process at a time changes it (`changing`); any may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata = folder / "metadata"
        self._releases = folder / "releases"
        self._incoming = folder / "incoming"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The time in which no other process changes the folder; raises Busy."""
        for each in (self.folder, self._releases, self._incoming):
            each.mkdir(parents=True, exist_ok=True)
        with sole(self.folder / "lock"):
            for leftover in self._releases.glob(".*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    @property
    def id(self) -> str:
        """The device's anonymous id: random, made once."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            known = (self.folder / _ID).read_text(encoding="ascii").strip()
            if len(known) == 32:
                return known
        made = secrets.token_hex(16)
        replace_file(self.folder / _ID, made.encode())
        return made

    def current(self) -> Release | None:
        """The model in use."""
        return self._pointed("current")

    def previous(self) -> Release | None:
        """The last good one before it."""
        return self._pointed("previous")

    def kept(self, sha256: str) -> Release | None:
        """A bundle that is unpacked, checked and intact here already."""
        release = self._release(sha256)
        try:
            return release if release and intact(release.folder, release.manifest) else None
        except (EdgeError, OSError):
            return None

    def partial(self, sha256: str) -> Path:
        """The file that a download goes to."""
        return self._incoming / f"{sha256}.part"

    def forget_partials(self, *but: str) -> None:
        """Remove downloads that were begun, except of these digests."""
        for each in self._incoming.glob("*"):
            if each.stem not in but:
                each.unlink(missing_ok=True)

    def new_folder(self, sha256: str) -> Path:
        """An empty folder to unpack into; what is left of it goes at the next start."""
        folder = self._releases / f".new-{sha256}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def adopt(self, folder: Path, bundle: Path, release: Release) -> Release:
        """Take a folder that was unpacked and checked, with its bundle, among the releases."""
        facts = asdict(release)
        del facts["folder"]
        with written(folder / _RELEASE) as descriptor:
            write(descriptor, json.dumps(facts).encode())
        os.replace(bundle, folder / BUNDLE)  # noqa: PTH105
        move_folder(folder, release.folder)
        return release

    def release_folder(self, sha256: str) -> Path:
        """Where a bundle's files lie once it is adopted."""
        return self._releases / sha256

    def make_current(self, release: Release, previous: Release | None) -> None:
        """Swap: from here on this is the model in use, also after a crash; others than these two are removed."""
        pointers = {"schema": 1, "current": release.sha256, "previous": previous.sha256 if previous else None}
        replace_file(self.folder / _CURRENT, json.dumps(pointers).encode())
        for each in self._releases.iterdir():
            if each.name not in {release.sha256, pointers["previous"]}:
                remove_folder(each)
        if previous is not None:
            (previous.folder / BUNDLE).unlink(missing_ok=True)  # deltas begin at the one in use

    def forget_previous(self) -> None:
        """Keep the current model only."""
        current = self.current()
        if current is not None and self.previous() is not None:
            self.make_current(current, None)

    def fall_back(self) -> Release:
        """Make the last good model the one in use; raises NotInstalled where there is none."""
        previous = self.previous()
        if previous is None or self.kept(previous.sha256) is None:
            raise NotInstalled(f"{self.folder}: there is no former model to go back to")
        self.make_current(previous, None)
        return previous

    def notes(self) -> Notes:
        """What was noted; nothing where that cannot be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            fields = json.loads((self.folder / _NOTES).read_bytes())
            declined = {str(key): (until, str(reason)) for key, (until, reason) in fields.pop("declined").items()}
            return Notes(declined=declined, **fields)
        return Notes()

    def note(self, notes: Notes) -> None:
        """Note it for the next time."""
        replace_file(self.folder / _NOTES, json.dumps(asdict(notes)).encode())

    def _pointed(self, which: str) -> Release | None:
        try:
            sha256 = json.loads((self.folder / _CURRENT).read_bytes())[which]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return self._release(sha256) if isinstance(sha256, str) else None

    def _release(self, sha256: str) -> Release | None:
        folder = self.release_folder(sha256)
        try:
            facts: dict[str, Any] = json.loads((folder / _RELEASE).read_bytes())
            return Release(folder=folder, **facts)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
