"""What a bundle says of itself: manifest.json and golden.json as plain data, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final, Literal, TypeVar

import msgspec

from adapters.errors import InvalidInput
from adapters.tensors import DataType
from gateway.types import MODEL_NAME

MANIFEST: Final = "manifest.json"
GOLDEN: Final = "golden.json"
CERTIFICATE: Final = "certificate.json"
PICTURE: Final = "certificate.html"
LABELS: Final = "labels.txt"
LICENCE: Final = "LICENSE"

MOST_ENTRIES: Final = 256
MOST_ROWS: Final = 16
MOST_MANIFEST_BYTES: Final = 1 << 20
MOST_GOLDEN_BYTES: Final = 16 << 20

TARGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "android": ("tflite", "executorch", "onnxruntime"),
    "ios": ("tflite", "executorch", "onnxruntime"),
    "browser": ("onnxruntime", "tflite", "tfjs"),
    "linux-arm64": ("tflite", "onnxruntime", "executorch"),
    "linux-amd64": ("tflite", "onnxruntime", "executorch"),
}
"""The runtimes that each target has."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}")
_APP = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}(?:[.+-]?[A-Za-z0-9]{1,20})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATATYPES = frozenset(DataType)


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle: its SHA-256 as hex, and its size."""

    sha256: str
    bytes: int


class TensorInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of the model: batch axis included, -1 as a size is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class GoldenTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of a tensor, row by row."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[bool | int | float, ...]


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call of the model, and what it answered where the bundle was made: at most MOST_ROWS rows."""

    inputs: tuple[GoldenTensor, ...]
    outputs: tuple[GoldenTensor, ...]


class Nearness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How near a device's answers to the golden inputs have to be.

    No value may differ by more than `max_abs`; of the rows along all axes but the last, at least the share `argmax`
    has its largest value at the same place.
    """

    max_abs: float
    argmax: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bundle's manifest.json. `files` are all other files in the archive; names in other fields are among them."""

    schema: Literal[1] = 1
    model: str
    version: int
    target: str
    runtime: str
    precision: str
    model_file: str
    files: Mapping[str, FileEntry]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    labels: str | None
    golden: str | None
    tolerance: Nearness | None
    licence: str | None
    min_app: str | None

    @property
    def file_name(self) -> str:
        """What the archive is called."""
        return f"{self.model}-{self.version}-{self.target}.zip"


_Document = TypeVar("_Document", Manifest, Golden)


def encode(document: Manifest | Golden) -> bytes:
    """As JSON, always the same bytes for the same content; a manifest is for people, too."""
    data = msgspec.json.encode(document, order="deterministic")
    return msgspec.json.format(data, indent=1) + b"\n" if isinstance(document, Manifest) else data


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.json; raises InvalidInput that names the field."""
    manifest = _decode(data, Manifest, MANIFEST)
    if not MODEL_NAME.fullmatch(manifest.model):
        raise _wrong("model", "a name of a-z 0-9 . _ - (64 at most)", manifest.model)
    if not 0 < manifest.version < 10**18:
        raise _wrong("version", "a positive integer", manifest.version)
    if manifest.target not in TARGETS:
        raise _wrong("target", f"one of {', '.join(TARGETS)}", manifest.target)
    for name, entry in manifest.files.items():
        check_name(name)
        if not _SHA256.fullmatch(entry.sha256) or entry.bytes < 0:
            raise _wrong(f"files.{name}", "sha256 of 64 hexadecimal digits and a size", entry)
    named = {each: getattr(manifest, each) for each in ("model_file", "labels", "golden", "licence")}
    for each, name in named.items():
        if name is not None and name not in manifest.files:
            raise _wrong(each, "one of files", name)
    check_min_app(manifest.min_app)
    if (manifest.golden is None) != (manifest.tolerance is None):
        raise InvalidInput(f"{MANIFEST}: expected golden and tolerance together, or neither")
    _check_tensors(manifest.inputs + manifest.outputs)
    return manifest


def decode_golden(data: bytes) -> Golden:
    """Read a golden.json; raises InvalidInput where a tensor's values are not as many as its shape says."""
    golden = _decode(data, Golden, GOLDEN)
    _check_tensors(golden.inputs + golden.outputs)
    for tensor in golden.inputs + golden.outputs:
        if min(tensor.shape, default=0) < 0 or prod(tensor.shape) != len(tensor.data):
            text = (
                f"{GOLDEN}: {tensor.name:.80}: expected {prod(tensor.shape)} values of shape {list(tensor.shape)!s:.80}"
            )
            raise InvalidInput(f"{text}, got {len(tensor.data)}")
    return golden


def check_min_app(version: str | None) -> None:
    """Raises InvalidInput for what is no version of an app."""
    if version is not None and not _APP.fullmatch(version):
        raise InvalidInput(f"min_app: expected a version, as 2.1 or 2.1.0, got {version!r:.40}")


def check_name(name: str) -> None:
    """Raises InvalidInput for a file's name that no bundle may have: it could lead elsewhere, or is hidden."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r:.80}: expected a name of letters, digits, . _ - (100 at most, none of . and - in front), "
            "in at most 3 folders"
        )


def _decode(data: bytes, kind: type[_Document], file: str) -> _Document:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{file}: {error!s:.300}") from None


def _check_tensors(tensors: Sequence[TensorInfo | GoldenTensor]) -> None:
    for tensor in tensors:
        if tensor.datatype not in _DATATYPES:
            raise _wrong(f"{tensor.name:.80}.datatype", "a datatype of the V2 protocol, as FP32", tensor.datatype)


def _wrong(field: str, expected: str, got: Any) -> InvalidInput:
    return InvalidInput(f"{MANIFEST}: {field}: expected {expected}, got {got!r:.80}")
