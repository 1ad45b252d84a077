"""What is in one version's folder: which files belong to which backend, and when they last changed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GOLDEN = "golden.npz"
_SAVED_MODEL = "saved_model.pb"
_SAVED_MODEL_FOLDERS = ("saved_model", "model.savedmodel")
_SAVED_MODEL_PARTS = ("variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb")
_SUFFIXES = {
    ".onnx": "onnxruntime",
    ".ort": "onnxruntime-ort",
    ".tflite": "tflite",
    ".pt": "torchserve",
    ".mar": "torchserve",
}
_VARIANT = re.compile(r"model\.([a-z][a-z0-9]{0,15})(\.onnx|\.ort|\.tflite)")
_OF_EXPORTS = (".keras", ".pt2", ".pte")
_FOLDERS_OF_EXPORTS = ("certificates", "tfjs")
_MAX_FILES = 10_000
_CHUNK_BYTES = 1 << 20
EXPECTED = "*.onnx, *.ort, *.tflite, saved_model.pb, saved_model/, model.savedmodel/, *.pt or *.mar"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """One file: its path within the version's folder, and what changes when its content does."""

    name: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    is_link: bool
    is_file: bool = True


@dataclass(frozen=True, slots=True)
class ArtifactFiles:
    """A backend's artifact: where it is, all files that belong to it, and why it cannot be used, if so."""

    backend: str
    path: Path
    files: tuple[FileStamp, ...]
    problem: str | None = None

    @property
    def size_bytes(self) -> int:
        """How large all of them are together."""
        return sum(each.size_bytes for each in self.files)


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """One version's folder.

    `changed_ns` is when any of its files was last written or put there (nanoseconds since the epoch): the inodes' own
    time, which a copying program cannot set back as it can the modification time.
    """

    path: Path
    artifacts: Mapping[str, ArtifactFiles]
    golden: FileStamp | None
    changed_ns: int
    problems: tuple[str, ...]


def find_artifacts(folder: Path) -> VersionFiles:
    """Recognise the artifacts in a version's folder; raises OSError where it cannot be read."""
    problems: list[str] = []
    stamps = list(_walk(folder, problems))
    rest = {stamp.name: stamp for stamp in stamps if "/." not in f"/{stamp.name}"}
    golden = rest.pop(GOLDEN, None)
    artifacts: dict[str, ArtifactFiles] = {}
    saved_model = _saved_model(folder, rest)
    if saved_model:
        artifacts[saved_model.backend] = saved_model
    artifacts.update(_by_suffix(folder, rest))
    for stamp in (artifact for each in artifacts.values() for artifact in each.files):
        rest.pop(stamp.name, None)
    unclaimed = [stamp for name, stamp in rest.items() if not _backend(name) and not _is_of_exports(name)]
    for backend, artifact in artifacts.items():
        if artifact.path.suffix == ".onnx":
            artifacts[backend] = _with_external_data(artifact, unclaimed)
    if not artifacts:
        seen = ", ".join(sorted(rest)[:5]) or "nothing"
        hint = "; torii export makes an artifact of what is there" if any(map(_is_source, rest)) else ""
        problems.append(f"no artifact: expected {EXPECTED}; found {seen}{hint}")
    if problem := _refused(stamps):
        artifacts = {backend: _failed(artifact, problem) for backend, artifact in artifacts.items()}
    problems.extend(f"{each.backend}: {each.problem}" for each in artifacts.values() if each.problem)
    changed_ns = max((stamp.ctime_ns for stamp in stamps), default=0)
    return VersionFiles(folder, artifacts, golden, changed_ns, tuple(problems))


def _refused(stamps: Sequence[FileStamp]) -> str | None:
    """Why nothing in the folder can be used, if so."""
    for stamp in stamps:
        if stamp.is_link:
            # A link anywhere in the folder could make a backend read any file of this machine and call it a weight:
            # an ONNX model may name any file beside it.
            return f"{stamp.name} is a symbolic link; put the file itself there"
    for stamp in stamps:
        if not stamp.is_file:
            return f"{stamp.name} is no file; take it away"  # whoever reads a pipe may wait for ever
    return None


def _by_suffix(folder: Path, files: Mapping[str, FileStamp]) -> dict[str, ArtifactFiles]:
    candidates: dict[str, list[str]] = {}
    for name in files:
        if backend := _backend(name):
            candidates.setdefault(backend, []).append(name)
    return {backend: _single(folder, backend, named, files) for backend, named in candidates.items()}


def _backend(name: str) -> str | None:
    """The backend of a file: by its suffix; of `model.<variant>.<suffix>`, that variant of it."""
    suffix = PurePosixPath(name).suffix
    if "/" in name or suffix not in _SUFFIXES:
        return None
    variant = _VARIANT.fullmatch(name)
    return f"{_SUFFIXES[suffix]}-{variant[1]}" if variant else _SUFFIXES[suffix]


def _is_source(name: str) -> bool:
    return "/" not in name and name.endswith(_OF_EXPORTS)


def _is_of_exports(name: str) -> bool:
    """Whether a file is what exports are made of, or say about themselves, and nothing that is served."""
    return _is_source(name) or name.startswith(tuple(f"{each}/" for each in _FOLDERS_OF_EXPORTS))


def _walk(folder: Path, problems: list[str]) -> Iterable[FileStamp]:
    found = 0
    pending = [(folder, "")]
    while pending:
        current, prefix = pending.pop()
        for entry in sorted(os.scandir(current), key=lambda each: each.name):
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # gone between the two looks: the next scan sees it
                continue
            name = prefix + entry.name
            if name != (shown := printable(name)):
                problems.append(f"{shown} is ignored: its name is no UTF-8")
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append((Path(entry.path), name + "/"))
                continue
            found += 1
            if found > _MAX_FILES:
                problems.append(f"more than {_MAX_FILES} files; the rest is not looked at")
                return
            is_link, is_file = entry.is_symlink(), entry.is_file(follow_symlinks=False)
            yield FileStamp(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, is_link, is_file)


def _saved_model(folder: Path, files: Mapping[str, FileStamp]) -> ArtifactFiles | None:
    found: list[ArtifactFiles] = []
    if _SAVED_MODEL in files:
        own = [
            stamp
            for name, stamp in files.items()
            if name == _SAVED_MODEL or name in _SAVED_MODEL_PARTS or name.split("/")[0] in _SAVED_MODEL_PARTS
        ]
        found.append(_artifact("tfserving", folder, own))
    for name in _SAVED_MODEL_FOLDERS:
        inside = [stamp for each, stamp in files.items() if each.startswith(name + "/")]
        if inside:
            artifact = _artifact("tfserving", folder / name, inside)
            lacking = f"{name}/{_SAVED_MODEL}" not in files
            found.append(_failed(artifact, f"{name}/ has no {_SAVED_MODEL}") if lacking else artifact)
    if len(found) > 1:
        names = ", ".join(_relative(each.path, folder) for each in found)
        return _failed(found[0], f"several SavedModels: {names}; keep one")
    return found[0] if found else None


def _single(folder: Path, backend: str, named: list[str], files: Mapping[str, FileStamp]) -> ArtifactFiles:
    """The one file of a backend: the only one, or the one that is called `model`."""
    chosen = named if len(named) == 1 else [name for name in named if PurePosixPath(name).stem == "model"]
    if len(chosen) == 1:
        return _artifact(backend, folder / chosen[0], [files[chosen[0]]])
    artifact = _artifact(backend, folder / named[0], [files[name] for name in named])
    return _failed(artifact, f"several candidates: {', '.join(named)}; keep one, or name one of them model.*")


def _with_external_data(artifact: ArtifactFiles, unclaimed: Iterable[FileStamp]) -> ArtifactFiles:
    # An ONNX model may keep its weights in any other file of its folder; which ones, only a parser could tell.
    return _artifact(artifact.backend, artifact.path, (*artifact.files, *unclaimed), artifact.problem)


def _artifact(backend: str, path: Path, files: Iterable[FileStamp], problem: str | None = None) -> ArtifactFiles:
    stamps = tuple(sorted(files, key=lambda each: each.name))
    return ArtifactFiles(backend, path, stamps, problem)


def _failed(artifact: ArtifactFiles, problem: str) -> ArtifactFiles:
    return ArtifactFiles(artifact.backend, artifact.path, artifact.files, problem)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else _SAVED_MODEL


def printable(name: str) -> str:
    """A file's name as text that can be sent and logged: what is no UTF-8 in it is shown as escapes."""
    return name.encode(errors="backslashreplace").decode()


def digest(folder: Path, files: Iterable[FileStamp]) -> str:
    """SHA-256 over the names and SHA-256 digests of the files, as hex; raises OSError where one is gone."""
    whole = hashlib.sha256()
    for stamp in files:
        content = hashlib.sha256()
        with (folder / stamp.name).open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                content.update(chunk)
        whole.update(stamp.name.encode() + b"\0" + content.digest())
    return whole.hexdigest()
