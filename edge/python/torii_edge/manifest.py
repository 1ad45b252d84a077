"""What a bundle says of itself: its model, its tensors, and the digest of each of its files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Final

import numpy as np

from torii_edge.errors import Refused

MANIFEST: Final = "manifest.json"
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DTYPES: Final = {
    **{f"{kind}{bits}": f"{kind.lower()}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
    "BOOL": "bool",
    "BYTES": "object",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor's name, datatype (V2's words) and shape: None for a size that is free."""

    name: str
    datatype: str
    shape: tuple[int | None, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it."""
        return np.dtype(_DTYPES[self.datatype])


@dataclass(frozen=True)
class Manifest:
    """`files` gives each file's SHA-256 and bytes; `tolerance` how far from its golden answers the model may be."""

    model: str
    version: int
    runtime: str
    model_file: str
    files: Mapping[str, tuple[str, int]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden: str | None
    tolerance: Mapping[str, float]
    min_app: str | None

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Read a manifest; raises Refused, naming the field that is wrong."""
        fields = parse_object(text, MANIFEST)
        if fields.get("schema") != 1:
            raise Refused(f"{MANIFEST}: schema: expected 1, got {brief(fields.get('schema'))}; a newer client reads it")
        files = {_file(name): _digest(name, of) for name, of in _of(fields, "files", dict).items()}
        manifest = cls(
            model=_of(fields, "model", str),
            version=_of(fields, "version", int),
            runtime=_of(fields, "runtime", str),
            model_file=_of(fields, "model_file", str),
            files=files,
            inputs=_specs(fields, "inputs"),
            outputs=_specs(fields, "outputs"),
            golden=_optional(fields, "golden"),
            tolerance={
                str(name): _number(name, limit)
                for name, limit in (_of(fields, "tolerance", dict) if fields.get("tolerance") else {}).items()
            },
            min_app=_optional(fields, "min_app"),
        )
        for field in ("model_file", "golden"):
            name = getattr(manifest, field)
            if name is not None and name not in files:
                raise Refused(f"{MANIFEST}: {field}: {name!r:.80} is not among the files")
        return manifest

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of an unpacked bundle; raises Refused and OSError."""
        return cls.parse((folder / MANIFEST).read_bytes())


def parse_object(text: bytes, name: str) -> dict[str, Any]:
    """Read a JSON object; raises Refused."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name}: no JSON ({error})") from error
    if not isinstance(value, dict):
        raise Refused(f"{name}: expected an object, got {type(value).__name__}")
    return value


def dtype_of(datatype: object) -> np.dtype[Any]:
    """Numpy's type for one of V2's names; raises Refused where there is none."""
    if not isinstance(datatype, str) or datatype not in _DTYPES:
        raise Refused(f"datatype {brief(datatype)}: expected one of {', '.join(sorted(_DTYPES))}")
    return np.dtype(_DTYPES[datatype])


def _of(fields: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Refused(f"{MANIFEST}: {name}: expected {kind.__name__}, got {brief(value)}")
    return value


def _optional(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else str(_of(fields, name, str))


def _number(name: object, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= sys.float_info.max:
        raise Refused(f"{MANIFEST}: tolerance: {name!r:.40}: expected a number of 0 or more, got {brief(value)}")
    return float(value)


def _file(name: str) -> str:
    if not FILE_NAME.fullmatch(name):
        raise Refused(f"{MANIFEST}: files: {name!r:.80} is no name that a file may have")
    return name


def _digest(name: str, described: object) -> tuple[str, int]:
    if isinstance(described, dict):
        sha256, length = described.get("sha256"), described.get("bytes")
        if isinstance(sha256, str) and _DIGEST.fullmatch(sha256) and isinstance(length, int) and length >= 0:
            return sha256, length
    raise Refused(f"{MANIFEST}: files: {name}: expected its sha256 and bytes, got {brief(described)}")


def _specs(fields: Mapping[str, Any], name: str) -> tuple[TensorSpec, ...]:
    specs = []
    for each in _of(fields, name, list):
        if (
            not isinstance(each, dict)
            or not isinstance(each.get("name"), str)
            or not isinstance(each.get("shape"), list)
        ):
            raise Refused(f"{MANIFEST}: {name}: expected name, datatype and shape, got {brief(each)}")
        dtype_of(each.get("datatype"))
        specs.append(TensorSpec(each["name"], each["datatype"], tuple(_size(size) for size in each["shape"])))
    return tuple(specs)


def _size(size: object) -> int | None:
    if size is None or size == -1:
        return None
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    raise Refused(f"{MANIFEST}: shape: expected sizes, -1 for a free one, got {brief(size)}")
