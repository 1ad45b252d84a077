"""Files made into requests: JSON, .npy, .npz and images, by what the model says that it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adapters.tensors import DataType, Tensor

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


class UnusableFile(Exception):
    """The file cannot be made into a request for this model; the text says why."""


def request_body(file: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a V2 request; raises UnusableFile."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".json":
            return _from_json(file, metadata)
        if suffix == ".npy":
            return _body({_only_input(metadata)["name"]: np.load(file, allow_pickle=False)}, metadata)
        if suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return _body({name.removeprefix("inputs/"): arrays[name] for name in _input_names(arrays)}, metadata)
        if suffix in IMAGES:
            spec = _only_input(metadata)
            return _body({spec["name"]: image_tensor(file, spec)}, metadata)
    except Exception as error:  # a damaged file makes its reader raise nearly anything
        raise UnusableFile(f"{file}: {error}") from error
    raise UnusableFile(f"{file}: expected .json, .npy, .npz or an image ({', '.join(IMAGES)}), got '{suffix}'")


def _from_json(file: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    document = json.loads(file.read_text())
    if isinstance(document, dict) and "inputs" in document:
        return document
    values = document if isinstance(document, dict) else {_only_input(metadata)["name"]: document}
    return _body({name: np.array(value) for name, value in values.items()}, metadata)


def _input_names(arrays: Any) -> list[str]:
    golden = [name for name in arrays.files if name.startswith("inputs/")]
    return golden or list(arrays.files)


def _only_input(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = metadata["inputs"]
    if len(inputs) != 1:
        names = ", ".join(each["name"] for each in inputs)
        raise UnusableFile(
            f"the model takes {len(inputs)} inputs ({names}): give a .json or .npz with one value for each"
        )
    spec: Mapping[str, Any] = inputs[0]
    return spec


def _body(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> dict[str, Any]:
    specs = {each["name"]: each for each in metadata["inputs"]}
    inputs: list[dict[str, Any]] = []
    body: dict[str, Any] = {"inputs": inputs}
    for name, tensor in tensors.items():
        asked = _as_asked(tensor, specs[name]) if name in specs else tensor
        datatype = DataType.BYTES if asked.dtype.kind in "OSU" else DataType.of(asked.dtype)
        data = asked.ravel().tolist()
        if asked.dtype.kind == "f" and not np.isfinite(asked).all():
            data = [value if isfinite(value) else _NON_FINITE[str(value)] for value in data]
            body["parameters"] = {"non_finite": "string"}
        inputs.append({"name": name, "shape": asked.shape, "datatype": datatype, "data": data})
    return body


def _as_asked(tensor: Tensor, spec: Mapping[str, Any]) -> Tensor:
    """The tensor in the model's datatype, and with a batch axis where only that is missing."""
    datatype = DataType(spec["datatype"])
    if len(spec["shape"]) == tensor.ndim + 1 and spec["shape"][0] in (-1, 1):
        tensor = tensor[np.newaxis]
    if tensor.dtype.kind in "Oc":
        raise UnusableFile(f"input '{spec['name']}': expected numbers or texts, got others among the values")
    return tensor.astype(np.str_) if datatype is DataType.BYTES else _cast(tensor, datatype, spec["name"])


def _cast(tensor: Tensor, datatype: DataType, name: str) -> Tensor:
    with np.errstate(invalid="ignore", over="ignore"):
        cast = tensor.astype(datatype.dtype)
    is_float = datatype.dtype.kind in "fV"
    if (
        np.isinf(cast).sum() > np.isinf(tensor.astype(np.float64)).sum()
        if is_float
        else not np.array_equal(cast, tensor)
    ):
        raise UnusableFile(f"input '{name}': the values do not fit {datatype}")
    return cast


def image_tensor(file: Path, spec: Mapping[str, Any]) -> Tensor:
    """An image as the model's input: resized to its height and width, pixels 0..255, with a batch axis of 1.

    The shape tells the layout: [N, H, W] and one channel are grey; of [N, C, H, W] and [N, H, W, C], C is the 1 or 3.
    """
    sizes = spec["shape"][1:]
    match sizes:
        case [height, width]:
            channels, axis = 1, None
        case [(1 | 3) as channels, height, width]:
            axis = 0
        case [height, width, (1 | 3) as channels]:
            axis = 2
        case _:
            raise UnusableFile(f"input '{spec['name']}' has shape {spec['shape']}, which is none of an image")
    with Image.open(file) as opened:
        image = opened.convert("L" if channels == 1 else "RGB")
    if height > 0 and width > 0:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    if axis is not None:
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        pixels = np.moveaxis(pixels, 2, axis)
    return _cast(np.ascontiguousarray(pixels)[np.newaxis], DataType(spec["datatype"]), spec["name"])
