"""A copy of what is converted: converters may write where they read, and a version may go while one of them runs."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from adapters.errors import BackendUnavailable, InvalidInput
from adapters.export.formats import Form, Format

_SAVED_MODEL_PARTS = ("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb")
_OTHERS = frozenset(
    ".onnx .tflite .pt .pt2 .pte .ort .mar .keras .npz .json .html .toml .txt .md .pb .py".split()  # noqa: SIM905
)


def copied(form: Form, source: Path, folder: Path) -> Path:
    """Copy an artifact into `folder`, with the files that an ONNX model may keep weights in. Blocking: disk.

    Raises:
        InvalidInput: it is gone, or has a symbolic link in it.
        BackendUnavailable: the disk is full, or refuses.
    """
    target = folder / form.file_name
    try:
        if not source.is_dir():
            shutil.copyfile(source, target, follow_symlinks=False)
            if form.format is Format.ONNX:
                _with_weights(source, folder)
        elif (source / _SAVED_MODEL_PARTS[0]).exists():
            target.mkdir()
            for part in (source / name for name in _SAVED_MODEL_PARTS):
                _copy(part, target / part.name)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise InvalidInput(f"{source.name} went away while it was read") from error
        raise BackendUnavailable(
            f"{source.name} cannot be copied to be converted: {error.strerror or error}"
        ) from error
    if linked := [path for path in (target, *folder.rglob("*")) if path.is_symlink()]:
        raise InvalidInput(f"{linked[0].name} is a symbolic link; put the file itself there")
    return target


def _with_weights(source: Path, folder: Path) -> None:
    for beside in source.parent.iterdir():
        if beside.is_file() and not beside.is_symlink() and beside.suffix not in _OTHERS and beside.name[0] != ".":
            shutil.copyfile(beside, folder / beside.name)


def _copy(part: Path, target: Path) -> None:
    if part.is_symlink() or part.is_file():
        shutil.copyfile(part, target, follow_symlinks=False)
    elif part.is_dir():
        shutil.copytree(part, target, symlinks=True)
