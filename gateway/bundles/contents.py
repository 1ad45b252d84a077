"""Which of a version's files can go into a bundle, and which go into the one for a target."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.base import plain_backend
from adapters.errors import InvalidInput
from adapters.export import certificate
from adapters.export.digests import artifact_digest
from adapters.export.formats import Form, Format, Precision
from gateway.artifacts import ArtifactFiles, find_artifacts
from gateway.bundles.archive import Content
from gateway.bundles.manifest import CERTIFICATE, LABELS, LICENCE, PICTURE, TARGETS
from gateway.errors import Conflict, ModelNotFound
from gateway.exports.publishing import CERTIFICATES

_FORMATS: Final = {".onnx": Format.ONNX, ".ort": Format.ORT, ".tflite": Format.TFLITE}
_NOT_SERVED: Final[Mapping[str, tuple[Form, str]]] = {
    "executorch": (Form(Format.PTE), "model.pte"),
    "tfjs": (Form(Format.TFJS), "tfjs/model.json"),
}
"""What is bundled and not served: by its runtime, the file that is loaded."""

_DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "android": ("tflite",),
    "ios": ("tflite", "executorch"),
    "browser": ("onnxruntime",),
    "linux-arm64": ("tflite",),
    "linux-amd64": ("tflite",),
}
"""What a target gets by default: the plain artifact of the first of these runtimes that has one."""

_FORMAT_OF: Final = {"tflite": Format.TFLITE, "onnxruntime": Format.ONNX}
_LABELS: Final = re.compile(r"labels\.txt")
_LICENCES: Final = re.compile(r"(?:LICENSE|LICENCE|COPYING)(?:\.txt|\.md)?")


@dataclass(frozen=True, slots=True)
class Weights:
    """An artifact that can be bundled.

    `backend` is what `--backend` calls it, `path` its file or folder; `files` are by their names in the bundle, and
    `model_file` is the one that is loaded. `certificate` is what the files of its certificate are called.
    """

    backend: str
    form: Form
    path: Path
    model_file: str
    files: Mapping[str, Path]
    certificate: str

    @property
    def runtime(self) -> str:
        """What executes it on a device."""
        return plain_backend(self.backend)


def weights_in(folder: Path) -> dict[str, Weights]:
    """All of a version's folder that can be bundled, by backend. Blocking: disk; raises OSError and Conflict."""
    found: dict[str, Weights] = {}
    for backend, artifact in find_artifacts(folder).artifacts.items():
        if artifact.path.suffix in _FORMATS:
            found[backend] = _served(folder, artifact)
    for backend, (form, loaded) in _NOT_SERVED.items():
        path = folder / form.file_name
        if (folder / loaded).is_file() and not path.is_symlink():
            files = {each.relative_to(folder).as_posix(): each for each in _plain_files(path)}
            found[backend] = Weights(backend, form, path, loaded, files, str(form))
    return found


def choose(weights: Mapping[str, Weights], target: str, backend: str | None, where: str) -> Weights:
    """What goes to a target: what is asked for, else the plain artifact of its default.

    Raises:
        InvalidInput: there is no such target, or the target has no such runtime.
        ModelNotFound: the version has nothing for it; says what there is.
    """
    if target not in TARGETS:
        raise InvalidInput(f"target: expected one of {', '.join(TARGETS)}, got {target!r:.40}")
    runtimes = TARGETS[target]
    there = ", ".join(weights) or "nothing that can be bundled"
    if backend is None:
        for runtime in _DEFAULTS[target]:
            if runtime in weights:
                return weights[runtime]
        first = _DEFAULTS[target][0]
        hint = f"torii export {where} --to {_FORMAT_OF[first]} makes one, --backend chooses another"
        raise ModelNotFound(f"{where} has no artifact of '{first}' for {target}; there is: {there}; {hint}")
    if backend not in weights:
        raise ModelNotFound(f"{where} has no artifact of '{backend:.64}'; there is: {there}")
    if weights[backend].runtime not in runtimes:
        raise InvalidInput(f"backend: {target} has {', '.join(runtimes)}, got {backend!r:.64}")
    return weights[backend]


def certificate_of(folder: Path, weights: Weights) -> dict[str, Content]:
    """The certificate's files, by their names in a bundle; none where it was not exported here. Blocking: disk.

    Raises:
        Conflict: it is a certificate of other bytes, or of an export that did not pass.
    """
    file = folder / CERTIFICATES / f"{weights.certificate}.json"
    if not file.is_file():
        return {}
    found = certificate.read(file)
    if found.export.sha256 != artifact_digest(weights.path):
        raise Conflict(f"{CERTIFICATES}/{file.name} is of other bytes than {weights.path.name}; export it again")
    if not found.passed:
        raise Conflict(f"{CERTIFICATES}/{file.name}: the export did not pass: {'; '.join(found.reasons)[:500]}")
    picture = file.with_suffix(".html")
    return {CERTIFICATE: file, **({PICTURE: picture} if picture.is_file() else {})}


def papers_of(folder: Path, labels: Path | None, licence: Path | None) -> dict[str, Content]:
    """Labels and licence: those given, else those of the version's folder, else of the model's. Blocking: disk."""
    given = {LABELS: (labels, _LABELS), LICENCE: (licence, _LICENCES)}
    papers = {name: path or _found(folder, pattern) for name, (path, pattern) in given.items()}
    return {name: path for name, path in papers.items() if path is not None}


def _served(folder: Path, artifact: ArtifactFiles) -> Weights:
    if artifact.problem:
        raise Conflict(f"{artifact.backend}: {artifact.problem}")
    path, variant = artifact.path, artifact.backend.rpartition("-")[2]
    precision = Precision(variant) if variant in list(Precision) else Precision.FP32
    model_file = path.name if path.name.startswith("model.") else f"model{path.suffix}"
    others = [folder / stamp.name for stamp in artifact.files if folder / stamp.name != path]
    files = {model_file: path, **{each.relative_to(folder).as_posix(): each for each in _named_in(path, others)}}
    return Weights(artifact.backend, Form(_FORMATS[path.suffix], precision), path, model_file, files, artifact.backend)


def _named_in(model: Path, others: list[Path]) -> Iterator[Path]:
    """Those of the files beside an ONNX model whose names are in it: what keeps weights for it is named there."""
    if not others:
        return
    with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield from [each for each in others if content.find(each.relative_to(model.parent).as_posix().encode()) >= 0]


def _plain_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def _found(folder: Path, pattern: re.Pattern[str]) -> Path | None:
    for place in (folder, folder.parent):
        for each in sorted(place.iterdir()):
            if pattern.fullmatch(each.name) and each.is_file() and not each.is_symlink():
                return each
    return None
