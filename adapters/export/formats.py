"""Formats and precisions of a model's weights, what such a file is called, and which of them a version's folder has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from adapters.errors import InvalidInput


class Format(StrEnum):
    """How weights are written down; the value is what `--to` calls it."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    TORCHSCRIPT = "torchscript"
    EXPORTED = "pt2"
    ONNX = "onnx"
    ORT = "ort"
    TFLITE = "tflite"
    TFJS = "tfjs"
    PTE = "pte"


class Precision(StrEnum):
    """What numbers weights and activations are; the value is what `--quantize` calls it.

    FP16 halves the weights. DYNAMIC has weights of 8 bits, and finds the scales of activations while it runs. INT8 has
    weights and activations of 8 bits, by scales that calibration data gave. Inputs and outputs stay floats in all.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    DYNAMIC = "dynamic"
    INT8 = "int8"


_FILES = MappingProxyType(
    {
        Format.KERAS: "model.keras",
        Format.SAVED_MODEL: "saved_model",
        Format.TORCHSCRIPT: "model.pt",
        Format.EXPORTED: "model.pt2",
        Format.ONNX: "model.onnx",
        Format.ORT: "model.ort",
        Format.TFLITE: "model.tflite",
        Format.TFJS: "tfjs",
        Format.PTE: "model.pte",
    }
)
_FOLDERS = (Format.SAVED_MODEL, Format.TFJS)
_BACKENDS = MappingProxyType(
    {
        Format.SAVED_MODEL: "tfserving",
        Format.TORCHSCRIPT: "torchserve",
        Format.ONNX: "onnxruntime",
        Format.ORT: "onnxruntime-ort",
        Format.TFLITE: "tflite",
    }
)
PRECISIONS: Mapping[Format, tuple[Precision, ...]] = MappingProxyType(
    {
        **dict.fromkeys(Format, (Precision.FP32,)),
        Format.ONNX: (Precision.FP32, Precision.DYNAMIC, Precision.INT8),
        Format.TFLITE: tuple(Precision),
    }
)
"""The precisions that each format is written in."""

_VARIANT = re.compile(r"model\.[a-z][a-z0-9]{0,15}\.[a-z0-9]+")
_SAVED_MODEL = "saved_model.pb"
_SAVED_MODEL_FOLDERS = ("saved_model", "model.savedmodel")


@dataclass(frozen=True, slots=True, order=True)
class Form:
    """A format in a precision: 'tflite-int8'."""

    format: Format
    precision: Precision = Precision.FP32

    def __str__(self) -> str:
        return self.format if self.precision is Precision.FP32 else f"{self.format}-{self.precision}"

    @property
    def file_name(self) -> str:
        """What the artifact is called in a version's folder."""
        whole = PurePosixPath(_FILES[self.format])
        return str(whole) if self.precision is Precision.FP32 else f"{whole.stem}.{self.precision}{whole.suffix}"

    @property
    def is_folder(self) -> bool:
        """Whether the artifact is a folder of files."""
        return self.format in _FOLDERS

    @property
    def backend(self) -> str | None:
        """The backend that serves it; None where the gateway does not."""
        backend = _BACKENDS.get(self.format)
        return backend and (backend if self.precision is Precision.FP32 else f"{backend}-{self.precision}")


def form_named(to: str, quantize: str | None = None) -> Form:
    """The form that `--to` and `--quantize` ask for; raises InvalidInput that lists what there is."""
    formats = {str(each): each for each in Format}
    if to not in formats:
        raise InvalidInput(f"to: expected one of {', '.join(formats)}, got {to!r:.40}")
    precisions = {str(each): each for each in PRECISIONS[formats[to]]}
    if (wanted := quantize or str(Precision.FP32)) not in precisions:
        raise InvalidInput(f"quantize: {to} is written in {', '.join(precisions)}, got {wanted!r:.40}")
    return Form(formats[to], precisions[wanted])


def forms_in(folder: Path) -> dict[Form, Path]:
    """The sources in a version's folder, in full precision: each with its file or folder. Blocking: disk.

    Of several files of one format it is the one called `model`. Links are not followed. Raises OSError.
    """
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.is_symlink()]
    files = [entry for entry in entries if entry.is_file() and not _VARIANT.fullmatch(entry.name)]
    found: dict[Form, Path] = {}
    for each, name in _FILES.items():
        if each in _FOLDERS:
            continue
        suffix = PurePosixPath(name).suffix
        if chosen := _chosen(entry for entry in files if entry.suffix == suffix):
            found[Form(each)] = chosen
    if any(entry.name == _SAVED_MODEL for entry in files):
        found[Form(Format.SAVED_MODEL)] = folder
    for entry in entries:
        if entry.name in _SAVED_MODEL_FOLDERS and (entry / _SAVED_MODEL).is_file():
            found[Form(Format.SAVED_MODEL)] = entry
    return found


def _chosen(candidates: Iterable[Path]) -> Path | None:
    found = list(candidates)
    if len(found) > 1:
        found = [path for path in found if path.stem == "model"]
    return found[0] if len(found) == 1 else None
