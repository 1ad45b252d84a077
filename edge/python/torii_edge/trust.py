"""What is trusted: TUF's metadata, and what they say of a target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.ngclient import FetcherInterface, Updater

from torii_edge.durable import sync_file, sync_folder
from torii_edge.errors import Offline, Refused
from torii_edge.limits import Limits
from torii_edge.transport import Server

METADATA: Final = "/edge/v1/metadata/"
TARGETS: Final = "/edge/v1/targets/"


@dataclass(frozen=True)
class Target:
    """What is signed of a file: its path, its SHA-256 in hexadecimal, its bytes, and what its publisher says of it."""

    path: str
    sha256: str
    length: int
    custom: dict[str, Any]

    @property
    def url_path(self) -> str:
        """Where it is fetched: by TUF's consistent snapshots, its name begins with its digest."""
        folder, slash, name = self.path.rpartition("/")
        return TARGETS + quote(f"{folder}{slash}{self.sha256}.{name}")


class Signed:
    """The targets that are signed now."""

    def __init__(self, updater: Updater) -> None:
        self._updater = updater

    def find(self, path: str) -> Target:
        """A target; raises Refused where there is none of this path that is signed."""
        with _refusing():
            found = self._updater.get_targetinfo(path)
        if found is None:
            raise Refused(f"{path!r:.200} is not among the signed targets")
        sha256 = found.hashes.get("sha256")
        if not sha256:
            raise Refused(f"{path}: the signed metadata have no SHA-256 of it")
        return Target(path, sha256, found.length, dict(found.custom or {}))

    def holds(self, path: str, sha256: str) -> bool:
        """Whether a target of this path and content is signed."""
        try:
            return self.find(path).sha256 == sha256
        except Refused:
            return False


class Trust:
    """The trusted metadata in a folder, which begin with a root that came with the app."""

    def __init__(self, folder: Path, root: bytes, server: Server, limits: Limits) -> None:
        self._folder = folder
        self._root = root
        self._fetcher = _Fetcher(server, limits)

    def refresh(self) -> Signed:
        """Fetch and verify what is new.

        Raises:
            Refused: it is not signed as the root wants, is expired, or older than what was seen.
            Offline: it cannot be fetched.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("tmp*"):
            leftover.unlink(missing_ok=True)
        before = self._files()
        with _refusing():
            try:
                updater = self._updater()
                updater.refresh()
            finally:
                self._keep(before)
        return Signed(updater)

    def _updater(self) -> Updater:
        try:
            return Updater(str(self._folder), METADATA, fetcher=self._fetcher, bootstrap=self._root)
        except RepositoryError as error:
            raise Refused(f"the trusted root that came with the app is no root metadata: {error}") from error

    def _files(self) -> dict[Path, tuple[int, int]]:
        files = [each for each in self._folder.rglob("*.json") if each.is_file()]
        return {each: (each.stat().st_ino, each.stat().st_mtime_ns) for each in files}

    def _keep(self, before: dict[Path, tuple[int, int]]) -> None:
        """Put what changed on the disk: a stop of the machine must not make an older state acceptable again."""
        changed = [path for path, state in self._files().items() if before.get(path) != state]
        for path in changed:
            sync_file(path)
        for folder in {each.parent for each in changed}:
            sync_folder(folder)


class _Fetcher(FetcherInterface):
    """Fetches metadata; TUF bounds their size, this their time."""

    def __init__(self, server: Server, limits: Limits) -> None:
        self._server = server
        self._limits = limits

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._server.ask("GET", url, self._limits.patience_s, {"Accept-Encoding": "gzip"}) as answer:
                if answer.status != 200:
                    raise DownloadHTTPError(f"{url}: answered {answer.status}", answer.status)
                yield from answer.chunks()
        except Offline as error:
            raise DownloadError(str(error)) from error


@contextmanager
def _refusing() -> Iterator[None]:
    """Says by this client's errors what TUF's say."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise Refused(f"what the server has is out of date, or this clock is wrong: {error}") from error
    except DownloadLengthMismatchError as error:
        raise Refused(f"the server sends more than it may: {error}") from error
    except RepositoryError as error:
        raise Refused(f"not signed as it must be: {error}") from error
    except DownloadError as error:
        raise Offline(str(error)) from error
