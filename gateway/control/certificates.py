"""Parity certificates of a version's exports: found beside the artifacts, and whether they are still of these files."""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

from adapters.errors import InvalidInput
from adapters.export.certificate import Certificate, encode, read
from adapters.export.digests import artifact_digest
from adapters.export.picture import POLICY, picture
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, ModelNotFound

FOLDER: Final = "certificates"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MOST = 64
_REMEMBERED = 256
_HEADERS: Final = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Stamp: TypeAlias = tuple[tuple[str, int, int, int, int], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """One export's certificate: `current` is whether its file is still the one that was certified.

    `certificate` is None where the file cannot be used, and `problem` says why.
    """

    version: int
    backend: str
    certificate: Certificate | None
    current: bool = False
    problem: str = ""

    @property
    def largest(self) -> float | None:
        """The largest difference in any output."""
        return max(each.largest for each in self.certificate.outputs) if self.certificate else None


class Certificates:
    """Looks certificates up; names that callers say are compared with what is there, and are never part of a path."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._read: _Remembered[Certificate | str] = _Remembered()
        self._digests: _Remembered[str] = _Remembered()

    async def of_model(self, model: str) -> list[Found]:
        """Those of all versions, newest first; nothing for what is not in the repository."""
        entry = self._control.snapshot.models.get(model)
        versions = sorted(entry.versions, reverse=True) if entry else []
        found = [await asyncio.to_thread(self._look, each, entry.versions[each].path) for each in versions if entry]
        return [each for version in found for each in version]

    async def of_version(self, model: str, version: int) -> list[Found]:
        """Those of one version, by backend; raises ModelNotFound where there is no such version."""
        entry = self._control.snapshot.entry(model)
        if version not in entry.versions:
            there = ", ".join(map(str, sorted(entry.versions))) or "none"
            raise ModelNotFound(f"model '{model:.80}' has no version {version}; there are: {there}")
        return await asyncio.to_thread(self._look, version, entry.versions[version].path)

    async def of_backend(self, model: str, version: int, backend: str) -> Found:
        """One of them; raises ModelNotFound where there is none, Conflict where its file cannot be used."""
        all_of_it = await self.of_version(model, version)
        for each in all_of_it:
            if each.backend == backend:
                if each.certificate is None:
                    raise Conflict(f"{model}/{version}@{backend}: {each.problem}; export it again")
                return each
        there = ", ".join(each.backend for each in all_of_it) or "none"
        raise ModelNotFound(f"{model}/{version} has no certificate of {backend!r:.80}; there are: {there}")

    def _look(self, version: int, folder: Path) -> list[Found]:
        try:
            with os.scandir(folder) as entries:
                beside = {each.name: Path(each.path) for each in entries if not each.is_symlink()}
            if FOLDER not in beside:
                return []
            with os.scandir(beside[FOLDER]) as entries:
                files = {each.name: Path(each.path) for each in entries if each.is_file(follow_symlinks=False)}
        except OSError:  # gone since the last scan
            return []
        backends = sorted(name[:-5] for name in files if name.endswith(".json") and _NAME.fullmatch(name[:-5]))
        return [self._one(version, each, files[f"{each}.json"], beside) for each in backends[:_MOST]]

    def _one(self, version: int, backend: str, file: Path, beside: dict[str, Path]) -> Found:
        certificate = self._read.of(file, _certificate)
        if not isinstance(certificate, Certificate):
            return Found(version, backend, None, problem=certificate or "its file is gone")
        artifact = beside.get(certificate.export.file)
        current = artifact is not None and self._digests.of(artifact, artifact_digest) == certificate.export.sha256
        return Found(version, backend, certificate, current)


class _Remembered(Generic[T]):
    """What was made of files, until they change."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Path, Stamp], T] = OrderedDict()

    def of(self, path: Path, make: Callable[[Path], T]) -> T | None:
        """What `make` makes of a path; None where it is gone."""
        try:
            key = path, _stamp(path)
            if key not in self._known:
                self._known[key] = make(path)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return self._known[key]
        except (OSError, KeyError):  # gone, or forgotten meanwhile by another thread
            return None


def _stamp(path: Path) -> Stamp:
    files = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    stats = [(str(each), each.lstat()) for each in files]
    return tuple((name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for name, each in stats)


def _certificate(path: Path) -> Certificate | str:
    try:
        return read(path)
    except InvalidInput as error:
        return str(error)


def add_certificates(app: FastAPI, certificates: Certificates) -> None:
    """Add the routes."""
    base = "/v1/models/{model}/versions/{version}/certificates"

    @app.get(base, tags=["exports"])
    async def get_certificates(model: str, version: int) -> dict[str, Any]:
        """The certificates of a version's exports, in short."""
        return {"certificates": [_short(each) for each in await certificates.of_version(model, version)]}

    @app.get(base + ".html", tags=["exports"], response_class=HTMLResponse)
    async def get_pictures(model: str, version: int) -> Response:
        """All of them as one page."""
        found = [each for each in await certificates.of_version(model, version) if each.certificate]
        if not found:
            raise ModelNotFound(f"{model:.80}/{version} has no certificates; torii export makes one with each export")
        return await _page(found)

    @app.get(base + "/{name}", tags=["exports"])
    async def get_certificate(model: str, version: int, name: str) -> Response:
        """One backend's certificate, whole; with `.html` behind the backend, as a page."""
        found = await certificates.of_backend(model, version, name.removesuffix(".html"))
        if name.endswith(".html"):
            return await _page([found])
        assert found.certificate is not None
        return Response(encode(found.certificate), media_type="application/json")


async def _page(found: Sequence[Found]) -> Response:
    # Made anew from the figures: a page that lies in the repository could hold anything.
    shown = [each.certificate for each in found if each.certificate]
    old = [each.backend for each in found if not each.current]
    notice = f"The file of {', '.join(old)} is not the one that was certified, or is gone." if old else ""
    return HTMLResponse(await asyncio.to_thread(picture, shown, notice), headers=_HEADERS)


def _short(found: Found) -> dict[str, Any]:
    certificate = found.certificate
    if certificate is None:
        return {"backend": found.backend, "problem": found.problem}
    return {
        "backend": found.backend,
        "passed": certificate.passed,
        "current": found.current,
        "reasons": certificate.reasons,
        "form": certificate.export.form,
        "route": certificate.route,
        "file": certificate.export.file,
        "sha256": certificate.export.sha256,
        "size_bytes": certificate.export.size_bytes,
        "largest": found.largest,
        "made": certificate.made,
    }
