"""Small bundles, right and wrong ones."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

from gateway.bundles.archive import write_archive
from gateway.bundles.manifest import (
    FileEntry,
    Golden,
    GoldenTensor,
    Manifest,
    Nearness,
    TensorInfo,
    encode,
)

WEIGHTS = b"weights of a model"
INFO = TensorInfo("x", "FP32", (-1, 2))
GOLDEN = Golden((GoldenTensor("x", "FP32", (1, 2), (0.5, 1.0)),), (GoldenTensor("y", "FP32", (1, 2), (1.5, 2.0)),))


def manifest(files: Mapping[str, bytes], **changes: object) -> Manifest:
    """The manifest of these files; `changes` are other values for its fields."""
    entries = {name: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    fields: dict[str, object] = {
        "model": "digits",
        "version": 2,
        "target": "android",
        "runtime": "tflite",
        "precision": "int8",
        "model_file": "model.int8.tflite",
        "files": entries,
        "inputs": (INFO,),
        "outputs": (INFO,),
        "labels": None,
        "golden": "golden.json",
        "tolerance": Nearness(0.05, 1.0),
        "licence": None,
        "min_app": None,
        **changes,
    }
    return Manifest(**fields)  # type: ignore[arg-type]


def files() -> dict[str, bytes]:
    """What a small bundle has in it, its manifest excepted."""
    return {"model.int8.tflite": WEIGHTS, "golden.json": encode(GOLDEN)}


def contents(**changes: object) -> dict[str, bytes]:
    """All of a small bundle's files."""
    return {**files(), "manifest.json": encode(manifest(files(), **changes))}


def right(folder: Path) -> Path:
    """A bundle as `torii bundle` writes it."""
    file = folder / "digits-2-android.zip"
    write_archive(file, contents())
    return file


def entry(name: str, kind: int = stat.S_IFREG, compress: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A zip entry of a name."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr, info.compress_type = 3, (kind | 0o644) << 16, compress
    return info


def written(folder: Path, *entries: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """An archive of any entries, in this order."""
    file = folder / "hostile.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for info, data in entries:
            archive.writestr(info, data)
    return file


def right_and(folder: Path, *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """A right bundle's entries, and others."""
    return written(folder, *((entry(name), data) for name, data in sorted(contents().items())), *more)
