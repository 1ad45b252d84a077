"""The snapshot and the timestamp signed again, by the online keys alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.edge.disk import DISK, Disk
from gateway.edge.keys import KeyFolder
from gateway.edge.roles import half_over
from gateway.edge.signed import Clock, SignedFolder, State, files, utc_now
from gateway.errors import Conflict
from gateway.locking import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What was signed again, until when that holds, and what only the offline keys can sign again by now."""

    snapshot: bool
    timestamp: bool
    until: datetime
    overdue: tuple[str, ...]


def refresh(
    edge: Path,
    keys: KeyFolder,
    force: bool = False,
    disk: Disk = DISK,
    clock: Clock = utc_now,
    patience_s: float = PATIENCE_S,
) -> Refreshed:
    """Sign again what has lived half its time (with `force`: all), and make targets live that were signed elsewhere.

    Blocking. Only the keys of snapshot and timestamp are opened. Raises NotAllowed where there is no repository or no
    key, ConfigError where a file is wrong, Conflict where somebody else writes or a signed target is not there yet,
    OSError: then nothing has changed.
    """
    folder = SignedFolder(edge, disk, clock, patience_s)
    with folder.changing() as state:
        now = folder.now()
        snapshot = force or not state.is_live or half_over(state.snapshot.metadata, state.root, "snapshot", now)
        timestamp = snapshot or half_over(state.timestamp.metadata, state.root, "timestamp", now)
        if not state.is_live:
            _check_there(folder, state)
        if snapshot:
            folder.commit(state, keys)
        elif timestamp:
            folder.renew(state, keys)
        after = folder.read()
        for path in files(state.live).keys() - files(after.live).keys():
            disk.remove(folder.targets / path)
        folder.prune(after)
        return Refreshed(snapshot, timestamp, _until(after), overdue(after, now))


def _check_there(folder: SignedFolder, state: State) -> None:
    """Targets that were signed elsewhere are shown when all of them have been copied."""
    for path, size in files(state.targets).items():
        file = folder.targets / path
        if not file.is_file() or file.stat().st_size != size:
            raise Conflict(f"{file}: it is signed, and not there as a whole; copy it, then refresh again")


def overdue(state: State, now: datetime) -> tuple[str, ...]:
    """What is to be signed again by the offline keys, and how."""
    found = []
    if half_over(state.targets.metadata, state.root, "targets", now):
        found.append(_told("targets", state.targets.metadata.signed.expires, now))
    root_expires: datetime = state.root.expires
    if root_expires < now or (root_expires - now).days < 30:
        found.append(_told("root", root_expires, now))
    return tuple(found)


def _told(role: str, expires: datetime, now: datetime) -> str:
    when = "has expired, and clients refuse it," if expires <= now else "expires"
    return f"{role} {when} on {expires:%Y-%m-%d}: torii edge rotate EDGE_DIR {role} --same-keys"


def _until(state: State) -> datetime:
    expires: datetime = min(state.timestamp.metadata.signed.expires, state.snapshot.metadata.signed.expires)
    return expires
