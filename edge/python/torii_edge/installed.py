"""The model that is on the device: run, and taken back, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import ArrayLike, NDArray

from torii_edge.bundle import intact
from torii_edge.durable import remove_folder
from torii_edge.errors import EdgeError, NotInstalled, Unfit
from torii_edge.manifest import Manifest
from torii_edge.reports import Outbox
from torii_edge.runtimes import Load, Session, installed_runtimes
from torii_edge.self_check import load_model
from torii_edge.store import Release, Store
from torii_edge.tensors import run


class InstalledModel:
    """What a folder holds. It is loaded when it is first run; any thread may run it."""

    def __init__(self, folder: Path, runtimes: Mapping[str, Load] | None = None) -> None:
        self.store = Store(folder)
        self.runtimes = installed_runtimes() if runtimes is None else runtimes
        self._loaded: tuple[Release, Manifest, Session] | None = None
        self._loading = Lock()

    @property
    def version(self) -> int | None:
        """The version in use; None where there is none yet."""
        current = self._loaded[0] if self._loaded else self.store.current()
        return current.version if current else None

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Run the model on arrays by name.

        Raises:
            NotInstalled: there is no model yet.
            Unfit: it cannot be loaded, and there is none to go back to.
            ValueError: an input is missing, unknown, or of another shape or type.
        """
        loaded = self._loaded or self.load()
        return run(loaded[2], loaded[1], inputs)

    def load(self) -> tuple[Release, Manifest, Session]:
        """Load what is in use now, or the last good one where that one is spoiled."""
        with self._loading:
            current = self.store.current() or self._fallen_back("there is no model in use")
            if self._loaded and self._loaded[0].sha256 == current.sha256:
                return self._loaded
            try:
                self._loaded = self._opened(current)
            except (EdgeError, OSError) as error:
                if isinstance(error, Unfit) and current.manifest.runtime not in self.runtimes:
                    raise
                self._loaded = self._opened(self._fallen_back(str(error), current))
            return self._loaded

    def rollback(self) -> int:
        """Go back to the last good model, and take the present one only when the server has offered another since.

        Returns:
            The version in use now.

        Raises:
            NotInstalled: there is none to go back to.
            Busy: another process is changing the folder.
        """
        with self.store.changing():
            bad = self.store.current()
            good = self.store.fall_back()
            if bad is not None:
                notes = self.store.notes()
                notes.decline(bad.sha256, "it was rolled back by hand", None)
                self.store.note(notes)
        self.load()
        return good.version

    def status(self) -> dict[str, Any]:
        """What is in use, what there is to go back to, and what is known of the server's wishes."""
        current, previous, notes = self.store.current(), self.store.previous(), self.store.notes()
        return {
            "model": current.model if current else None,
            "version": current.version if current else None,
            "channel": current.channel if current else None,
            "target": current.target if current else None,
            "sha256": current.sha256 if current else None,
            "still_signed": notes.signed if current else None,
            "previous": previous.version if previous else None,
            "declined": {sha256: reason for sha256, (_, reason) in notes.declined.items()},
            "reports_waiting": Outbox(self.store.folder / "reports.json", "").waiting,
            "refreshed_at": notes.refreshed_at or None,
            "poll_s": notes.poll_s,
            "runtimes": list(self.runtimes),
        }

    def _opened(self, release: Release) -> tuple[Release, Manifest, Session]:
        manifest = release.manifest
        if not intact(release.folder, manifest):
            raise Unfit(f"the files of version {release.version} are spoiled")
        return release, manifest, load_model(release.folder, manifest, self.runtimes)

    def _fallen_back(self, reason: str, bad: Release | None = None) -> Release:
        """The last good model, from now on the one in use."""
        if bad is None and self.store.previous() is None:
            raise NotInstalled(f"{self.store.folder}: {reason}; an update fetches one")
        with self.store.changing():
            try:
                good = self.store.fall_back()
            except NotInstalled:
                if bad is not None and self.store.kept(bad.sha256) is None:
                    remove_folder(bad.folder)  # the next update fetches it anew
                raise (Unfit if bad else NotInstalled)(
                    f"{self.store.folder}: {reason}, nor one to go back to"
                ) from None
            if bad is not None:
                Outbox(self.store.folder / "reports.json", self.store.id).failed(bad, reason)
            return good
