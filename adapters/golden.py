"""Inputs to try a model with: the real ones of its golden file, or invented ones that fit its signature."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec

_log = logging.getLogger(__name__)

_SUFFIX = ".npy"
_ANY_SIZE = 4
_MAX_ELEMENTS = 1 << 24
_MOST_ARRAYS = 1000


def golden_signature(path: Path) -> Signature | None:
    """Arrays `inputs/<name>` and `outputs/<name>`, axis 0 free. Blocking: disk; reads headers, never the arrays.

    None where the file cannot be read or lacks inputs or outputs, which is logged: it is a help and no condition.
    """
    try:
        with zipfile.ZipFile(path) as arrays:
            inputs, outputs = _specs(arrays, "inputs/"), _specs(arrays, "outputs/")
    except Exception as error:  # noqa: BLE001  # a damaged archive raises whatever its reader stumbles over
        _log.warning("golden file %s not used for the signature: %s", path, error)
        return None
    if not inputs or not outputs:
        _log.warning("golden file %s not used for the signature: expected arrays inputs/… and outputs/…", path)
        return None
    return Signature(inputs, outputs)


def _specs(arrays: zipfile.ZipFile, prefix: str) -> tuple[TensorSpec, ...]:
    members = [name for name in arrays.namelist() if name.startswith(prefix) and name.endswith(_SUFFIX)]
    if len(members) > _MOST_ARRAYS:
        raise InvalidInput(f"expected at most {_MOST_ARRAYS} arrays {prefix}…, got {len(members)}")
    return tuple(_spec(arrays, member, member[len(prefix) : -len(_SUFFIX)]) for member in members)


def _spec(arrays: zipfile.ZipFile, member: str, name: str) -> TensorSpec:
    with arrays.open(member) as array:
        version = np.lib.format.read_magic(array)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(array)  # numpy refuses headers beyond 10,000 characters
    if dtype.kind in "SU":
        datatype = DataType.BYTES
    elif dtype.hasobject:
        raise InvalidInput(f"{member}: expected numbers or fixed-length bytes, got pickled objects")
    else:
        datatype = DataType.of(dtype.newbyteorder("<"))
    return TensorSpec(name, datatype, (None, *shape[1:]) if shape else ())


def golden_inputs(path: Path) -> dict[str, Tensor] | None:
    """The arrays `inputs/<name>` of a golden file; None where it cannot be read, which is logged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name.startswith("inputs/")]
            return {name.removeprefix("inputs/"): arrays[name] for name in names} or None
    except Exception as error:  # noqa: BLE001  # a damaged archive raises whatever its reader stumbles over
        _log.warning("golden file not used: %s", error)
        return None


def invented_inputs(signature: Signature) -> dict[str, Tensor] | None:
    """Random inputs of the signature's shapes, free axes of size 4; None where a rank is free or they would be huge."""
    random = np.random.default_rng(0)
    inputs: dict[str, Tensor] = {}
    for spec in signature.inputs:
        if spec.shape is None:
            return None
        sizes = [_ANY_SIZE if size is None else size for size in spec.shape]
        if np.prod(sizes, dtype=float) > _MAX_ELEMENTS:
            return None
        inputs[spec.name] = _random(spec.datatype, sizes, random)
    return inputs or None


def _random(datatype: DataType, sizes: list[int], random: np.random.Generator) -> Tensor:
    if datatype is DataType.BYTES:
        return np.full(sizes, b"a", np.object_)
    if datatype.dtype.kind in "ui":  # 0 and 1 are valid as indices, token ids and masks nearly everywhere
        return random.integers(0, 2, sizes).astype(datatype.dtype)
    if datatype is DataType.BOOL:
        return random.random(sizes) < 0.5
    return random.random(sizes).astype(datatype.dtype)
