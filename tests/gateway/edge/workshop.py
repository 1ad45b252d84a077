"""A publisher with cheap keys, small bundles, disks that die or fill up, and TUF's own client over a folder."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from gateway.bundles.archive import write_archive
from gateway.bundles.manifest import encode
from gateway.edge.channel_folder import ChannelFolder
from gateway.edge.deltas import Differ
from gateway.edge.disk import Disk
from gateway.edge.keys import KeyFolder
from gateway.edge.making import make
from gateway.edge.publishing import Published, Publisher
from gateway.edge.roles import DEFAULTS, Kind, RoleName, Terms
from gateway.edge.signed import Clock, SignedFolder, utc_now
from tests.gateway.bundles.made import GOLDEN, manifest

COST = 2
URL = "http://edge"


def passphrase(kind: Kind, file: Path) -> str:
    return f"the passphrase of {kind} keys"


def cheap_delta(old: Path, new: Path, staged: Path) -> str:
    """As quick as a test needs it."""
    staged.write_bytes(b"from " + old.name[:8].encode() + b" to " + new.name[:8].encode())
    return ""


def bundle(folder: Path, version: int, model: str = "digits", target: str = "android", **changes: Any) -> Path:
    """A bundle of some kilobytes, the same bytes for the same version, not much different from the next one's."""
    weights = bytearray(random.Random(model).randbytes(20_000))
    weights[version * 100 : version * 100 + 50] = random.Random(version).randbytes(50)
    files = {"model.int8.tflite": bytes(weights), "golden.json": encode(GOLDEN)}
    told = manifest(files, model=model, version=version, target=target, **changes)
    folder.mkdir(exist_ok=True)
    write_archive(folder / told.file_name, {**files, "manifest.json": encode(told)})
    return folder / told.file_name


class Workshop:
    """An edge folder and its keys, below one folder."""

    def __init__(
        self, place: Path, disk: Disk | None = None, clock: Clock = utc_now, differ: Differ = cheap_delta
    ) -> None:
        disk = disk or QuickDisk()
        self.place = place
        self.edge = place / "edge"
        self.folder = SignedFolder(self.edge, disk, clock, patience_s=0.1)
        self.keys = KeyFolder(place / "keys", passphrase, COST, disk)
        self.channels = ChannelFolder(self.edge, disk, patience_s=0.1)
        self.publisher = Publisher(self.folder, self.keys, self.channels, differ)

    def make(self, **terms: Terms) -> None:
        make(self.folder, self.keys, {**DEFAULTS, **_named(terms)})

    def publish(self, version: int, **changes: Any) -> Published:
        return self.publisher.publish(bundle(self.place / "bundles", version, **changes))

    def client(self, name: str = "client") -> Client:
        return Client(self.edge, self.place / name)

    def files(self) -> dict[str, bytes]:
        """Everything that devices could read."""
        found = (each for each in sorted(self.edge.rglob("*")) if each.is_file() and each.name != ".lock")
        return {str(each.relative_to(self.edge)): each.read_bytes() for each in found}


def _named(terms: dict[str, Terms]) -> dict[RoleName, Terms]:
    return dict(terms.items())  # type: ignore[arg-type]


class _Folder(FetcherInterface):
    def __init__(self, edge: Path) -> None:
        self._edge = edge

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield (self._edge / url.removeprefix(URL + "/")).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError(url, 404) from None


class Client:
    """python-tuf's client, which keeps what it trusts in a folder; it begins with the first root."""

    def __init__(self, edge: Path, place: Path) -> None:
        self._edge = edge
        self._place = place
        for each in ("trusted", "downloads"):
            (place / each).mkdir(parents=True, exist_ok=True)

    def update(self) -> Updater:
        """Verify the newest metadata; raises tuf's exceptions."""
        first = (self._edge / "metadata" / "1.root.json").read_bytes()
        updater = Updater(
            str(self._place / "trusted"),
            f"{URL}/metadata/",
            str(self._place / "downloads"),
            f"{URL}/targets/",
            _Folder(self._edge),
            bootstrap=first,
        )
        updater.refresh()
        return updater

    def get(self, path: str) -> bytes | None:
        """A target, verified; None where it is not signed."""
        updater = self.update()
        found = updater.get_targetinfo(path)
        return None if found is None else Path(updater.download_target(found)).read_bytes()


class Killed(BaseException):
    """The process is no more."""


class QuickDisk(Disk):
    """A disk that is never without power: nothing waits for it."""

    def sync(self, folder: Path) -> None:
        pass

    def _flush(self, stream: BinaryIO) -> None:
        stream.flush()


class DyingDisk(QuickDisk):
    """A disk whose process is killed at a step: half of what it was writing may be there, and nothing comes after."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def rename(self, staged: Path, file: Path) -> None:
        self._step()
        super().rename(staged, file)

    def remove(self, file: Path) -> None:
        self._step()
        super().remove(file)

    def _create(self, file: Path, mode: int) -> BinaryIO:
        self._step()
        return super()._create(file, mode)

    def _put(self, stream: BinaryIO, data: bytes) -> None:
        if self.left == 0:
            stream.write(data[: len(data) // 2])
            stream.flush()
        self._step()
        super()._put(stream, data)


class FullDisk(QuickDisk):
    """A disk that takes so many pieces, and is full then; deleting goes on."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces

    def _put(self, stream: BinaryIO, data: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", stream.name)
        super()._put(stream, data)


class Hands:
    """A clock that tests set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now
