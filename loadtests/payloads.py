"""Payloads: what is asked, as tensors by input name, made once before the load."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loadtests.dialects.tensors import DTYPES

Inputs = Mapping[str, NDArray[Any]]

DIGITS: Final = Path(__file__).resolve().parents[1] / "docs" / "digits"
_ROW: Final = "inputs/"
_IMAGE: Final = (1, 3, 224, 224)
_INVENTED: Final = 8
_SEED: Final = 7
_MOST_BYTES: Final = 256 << 20


class BadPayload(ValueError):
    """A payload that is not there, or does not fit the model; says what would."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent in turn; each of `inputs` has every input of the model, batch axis included."""

    name: str
    inputs: tuple[Inputs, ...]


def payload(text: str, metadata: Mapping[str, Any]) -> Payload:
    """`digits`, `image`, `invented`, or the path of an .npz, for a model with this V2 metadata.

    Raises:
        BadPayload: there is none of that name, or the model does not take it.
    """
    made = _make(text, metadata)
    for inputs in made.inputs:
        _check(text, inputs, metadata)
    return made


def _make(text: str, metadata: Mapping[str, Any]) -> Payload:
    if text == "digits":
        return Payload("digits", tuple({_only_input(text, metadata): each} for each in digits()))
    if text == "image":
        pixels = np.random.default_rng(_SEED).standard_normal(_IMAGE, np.float32)
        return Payload(f"image {'×'.join(map(str, _IMAGE))}", ({_only_input(text, metadata): pixels},))
    if text == "invented":
        dice = np.random.default_rng(_SEED)
        return Payload("invented", tuple(_invent(metadata, dice) for _ in range(_INVENTED)))
    if text.endswith(".npz"):
        return Payload(Path(text).name, _rows(Path(text)))
    raise BadPayload(f"payload: expected digits, image, invented, or the path of an .npz, got {text!r:.200}")


def digits(folder: Path = DIGITS) -> tuple[NDArray[np.float32], ...]:
    """The sample images: FP32 [1, 8, 8] each, pixels 0…255; raises BadPayload where there are none."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise BadPayload(f"payload digits: no images in {folder}")
    return tuple(_pixels(file) for file in files)


def _pixels(file: Path) -> NDArray[np.float32]:
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX), np.float32)[np.newaxis]


def _rows(file: Path) -> tuple[Inputs, ...]:
    try:
        _check_size(file)
        with np.load(file, allow_pickle=False) as arrays:
            tensors = {name.removeprefix(_ROW): arrays[name] for name in arrays.files if name.startswith(_ROW)}
    except (OSError, ValueError, BadZipFile, zlib.error, NotImplementedError, EOFError, MemoryError) as error:
        raise BadPayload(f"payload {file}: expected an .npz with arrays {_ROW}TENSOR: {error}") from None
    lengths = {len(each) if each.ndim else 0 for each in tensors.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise BadPayload(
            f"payload {file}: expected arrays {_ROW}TENSOR, batch axis first, all with equally many rows; "
            f"got {', '.join(f'{name} {list(each.shape)}' for name, each in tensors.items()) or 'none'}"
        )
    objects = {name: _as_bytes(each) for name, each in tensors.items()}
    return tuple({name: each[row : row + 1] for name, each in objects.items()} for row in range(lengths.pop()))


def _check_size(file: Path) -> None:
    with ZipFile(file) as archive:
        size = sum(each.file_size for each in archive.infolist())
    if size > _MOST_BYTES:
        raise ValueError(f"its arrays have {size} bytes, and may have {_MOST_BYTES}: take fewer rows")


def _as_bytes(tensor: NDArray[Any]) -> NDArray[Any]:
    """Texts and fixed bytes of numpy's as what BYTES are: objects."""
    if tensor.dtype.kind not in "SU":
        return tensor
    encoded = np.char.encode(tensor, "utf-8") if tensor.dtype.kind == "U" else tensor
    return encoded.astype(np.object_)


def _invent(metadata: Mapping[str, Any], dice: np.random.Generator) -> Inputs:
    return {
        each["name"]: invented(each["datatype"], [size if size > 0 else 1 for size in each["shape"]], dice)
        for each in _inputs(metadata)
    }


def invented(datatype: str, shape: list[int], dice: np.random.Generator) -> NDArray[Any]:
    """Values that any model takes: fractions from 0 to 1; of whole numbers 0 and 1, which are rows of any table.

    Raises:
        BadPayload: there is no such datatype.
    """
    if datatype not in DTYPES:
        raise BadPayload(f"payload invented: the model has an input of an unknown datatype, {datatype!r}")
    if prod(shape) * max(1, DTYPES[datatype].itemsize) > _MOST_BYTES:
        raise BadPayload(f"payload invented: the model has an input {shape}, more than {_MOST_BYTES} bytes")
    if datatype == "BYTES":
        return np.full(shape, b"torii", np.object_)
    dtype = DTYPES[datatype]
    if dtype.kind in "biu":
        return dice.integers(0, 2, shape).astype(dtype)
    return dice.random(shape).astype(dtype)


def _inputs(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    inputs: list[dict[str, Any]] = metadata.get("inputs", [])
    if not inputs:
        raise BadPayload("payload: the model's V2 metadata names no inputs: give an .npz with its tensors")
    return inputs


def _only_input(text: str, metadata: Mapping[str, Any]) -> str:
    inputs = _inputs(metadata)
    if len(inputs) != 1:
        names = ", ".join(each["name"] for each in inputs)
        raise BadPayload(f"payload {text}: is for models of one input, and this one takes {names}")
    name: str = inputs[0]["name"]
    return name


def _check(text: str, inputs: Inputs, metadata: Mapping[str, Any]) -> None:
    specs = {each["name"]: each for each in metadata.get("inputs", [])}
    if not specs:
        return  # a model with code of its own, which says nothing of its inputs
    if inputs.keys() != specs.keys():
        raise BadPayload(f"payload {text}: has {', '.join(inputs)}, and the model takes {', '.join(specs)}")
    for name, tensor in inputs.items():
        spec = specs[name]
        fits = len(spec["shape"]) == tensor.ndim and all(
            wanted in (-1, size) for wanted, size in zip(spec["shape"], tensor.shape, strict=True)
        )
        if not fits or DTYPES.get(spec["datatype"]) != tensor.dtype:
            raise BadPayload(
                f"payload {text}: input '{name}' is {tensor.dtype} {list(tensor.shape)}, "
                f"and the model takes {spec['datatype']} {spec['shape']}"
            )
