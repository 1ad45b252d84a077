"""One update: ask, verify, fetch, unpack, check, swap. Whatever goes wrong, the model that works stays in use."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from torii_edge.bundle import file_digest, unpack
from torii_edge.download import Downloads
from torii_edge.errors import Busy, EdgeError, NoSpace, Offline, Refused, Unfit, is_full
from torii_edge.manifest import MANIFEST
from torii_edge.offers import Offer, ask, compare, signed_target
from torii_edge.reports import Outbox
from torii_edge.self_check import Check
from torii_edge.source import Source
from torii_edge.store import Notes, Release, Store
from torii_edge.transport import Server
from torii_edge.trust import Signed, Target, Trust

_AGAIN_S: Final = 86400.0
_MOST_ATTEMPTS: Final = 3


class Outcome(str, Enum):
    """What an update came to."""

    INSTALLED = "installed"
    ROLLED_BACK = "rolled back"
    UP_TO_DATE = "up to date"
    NOTHING = "nothing for this device"
    OFFLINE = "offline"
    REFUSED = "refused"
    UNFIT = "unfit"
    NO_SPACE = "no space"
    BUSY = "busy"

    @property
    def good(self) -> bool:
        """Whether all is as the server wants it."""
        return self in {Outcome.INSTALLED, Outcome.ROLLED_BACK, Outcome.UP_TO_DATE, Outcome.NOTHING}


_BY_ERROR: Final = (
    (Offline, Outcome.OFFLINE),
    (Refused, Outcome.REFUSED),
    (Unfit, Outcome.UNFIT),
    (NoSpace, Outcome.NO_SPACE),
    (Busy, Outcome.BUSY),
)


@dataclass(frozen=True)
class Update:
    """What an update came to, the version in use now, why, and when the server wants to be asked again."""

    outcome: Outcome
    version: int | None
    detail: str = ""
    poll_s: float | None = None


class Updating:
    """Updates a store from a source."""

    def __init__(self, store: Store, source: Source, check: Check) -> None:
        self._store = store
        self._source = source
        self._check = check
        self._limits = source.limits

    def update(self) -> Update:
        """Bring the store to what the server wants; says what became of it and raises nothing that can be foreseen."""
        outcome, detail = Outcome.UP_TO_DATE, ""
        try:
            with self._store.changing():
                outcome = self._changed()
            detail = self._source.wish if outcome is Outcome.NOTHING else ""
        except EdgeError as error:
            outcome, detail = next(each for kind, each in _BY_ERROR if isinstance(error, kind)), str(error)
        except OSError as error:
            if not is_full(error):
                raise
            outcome, detail = Outcome.NO_SPACE, f"the disk is full: {error}"
        current = self._store.current()
        return Update(outcome, current.version if current else None, detail, self._store.notes().poll_s)

    def _changed(self) -> Outcome:
        server = Server(self._source.url, self._limits)
        try:
            outbox = Outbox(self._store.folder / "reports.json", self._store.id)
            try:
                return self._brought(server, outbox)
            finally:
                outbox.send(server, self._limits)
        except BaseException as error:
            if is_full(error) or isinstance(error, NoSpace):
                self._store.forget_partials()
            raise
        finally:
            server.close()

    def _brought(self, server: Server, outbox: Outbox) -> Outcome:
        current = self._store.current()
        if current is not None:
            outbox.installed(current)  # what a crash kept from being told
        notes = self._store.notes()
        source = self._source
        offer = ask(server, source, self._store.id, current)
        if offer is not None and offer.poll_s != notes.poll_s:
            notes.poll_s = offer.poll_s
            self._store.note(notes)
        same = offer is None or (current is not None and current.sha256 == offer.sha256)
        nothing = Outcome.NOTHING if offer is None else Outcome.UP_TO_DATE
        if same:
            self._store.forget_partials()
        if same and 0 <= time.time() - notes.refreshed_at < source.refresh_s:
            return nothing
        signed = Trust(self._store.metadata, source.root, server, self._limits).refresh()
        self._refreshed(signed, notes, current)
        if same or offer is None:
            return nothing
        return self._installed(offer, signed, server, outbox, current)

    def _refreshed(self, signed: Signed, notes: Notes, current: Release | None) -> None:
        """Note it, and do not fall back to what was taken back."""
        notes.refreshed_at = time.time()
        notes.signed = current is None or signed.holds(current.target, current.sha256)
        self._store.note(notes)
        previous = self._store.previous()
        if previous is not None and not signed.holds(previous.target, previous.sha256):
            self._store.forget_previous()

    def _installed(
        self, offer: Offer, signed: Signed, server: Server, outbox: Outbox, current: Release | None
    ) -> Outcome:
        target = signed_target(offer, signed, self._source)
        notes = self._store.notes()
        declined = notes.why_declined(target.sha256)
        if declined is not None:
            raise Unfit(f"{target.path} is not tried again now: {declined}")
        release = self._store.kept(target.sha256)
        if release is None:
            bundle = self._fetched(offer, target, signed, server, current)
            release = self._checked(bundle, offer, target, outbox)
        back = current is not None and release.version < current.version
        self._store.make_current(release, None if back else current)
        with contextlib.suppress(OSError):  # it is installed, even if a full disk keeps that from being told
            self._store.forget_partials()
            self._store.note(replace(self._store.notes(), signed=True, declined={}))
            outbox.installed(release)
        return Outcome.ROLLED_BACK if back else Outcome.INSTALLED

    def _fetched(self, offer: Offer, target: Target, signed: Signed, server: Server, current: Release | None) -> Path:
        """The bundle: by its difference to the one in use where that works, else whole."""
        downloads = Downloads(self._store, server, self._limits)
        delta = None
        if offer.delta is not None and current is not None:
            with contextlib.suppress(Refused):
                delta = signed.find(offer.delta)
        self._store.forget_partials(target.sha256, delta.sha256 if delta else "")
        if delta is not None and current is not None and not self._store.partial(target.sha256).exists():
            with contextlib.suppress(Refused, Offline):
                return downloads.delta(delta, current, target)
        return downloads.whole(target)

    def _checked(self, bundle: Path, offer: Offer, target: Target, outbox: Outbox) -> Release:
        """A bundle unpacked, tried and adopted; raises Refused and Unfit, and then it is declined for a day."""
        folder = self._store.new_folder(target.sha256)
        release = Release(
            folder=self._store.release_folder(target.sha256),
            model=self._source.model,
            version=offer.version,
            target=target.path,
            sha256=target.sha256,
            channel=self._source.channel,
        )
        try:
            self._unpacked(bundle, folder, target, offer)
            self._tried(folder, release, outbox)
            return self._store.adopt(folder, bundle, release)
        except (Refused, Unfit) as error:
            notes = self._store.notes()
            notes.decline(target.sha256, str(error), _AGAIN_S)
            self._store.note(notes)
            if isinstance(error, Refused):
                outbox.failed(release, str(error))
            self._store.forget_partials()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _unpacked(self, bundle: Path, folder: Path, target: Target, offer: Offer) -> None:
        manifest = unpack(bundle, folder)
        compare(manifest, target, self._source.model, offer.version)
        if target.custom.get("manifest_sha256", digest := file_digest(folder / MANIFEST)) != digest:
            raise Refused(f"{target.path}: its {MANIFEST} is not the one that was signed")

    def _tried(self, folder: Path, release: Release, outbox: Outbox) -> None:
        notes = self._store.notes()
        attempts = notes.attempts.get(release.sha256, 0)
        if attempts >= _MOST_ATTEMPTS:
            raise Unfit(f"its self-check began {attempts} times and never came to an end")
        notes.attempts[release.sha256] = attempts + 1
        self._store.note(notes)
        try:
            checked = self._check(folder, self._limits.self_check_s)
        finally:  # only what ends this process, or the machine, is held against it
            notes.attempts.pop(release.sha256)
            self._store.note(notes)
        outbox.checked(release, checked)
        if not checked.passed:
            raise Unfit(f"self-check: {checked.reason}")
