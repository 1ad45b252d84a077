"""The signature of a model that carries none, read off the names, dtypes and shapes of its golden file."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, TensorSpec

_log = logging.getLogger(__name__)

_SUFFIX = ".npy"
_MOST_ARRAYS = 1000


def golden_signature(path: Path) -> Signature | None:
    """Arrays `inputs/<name>` and `outputs/<name>`, axis 0 free. Blocking: disk; reads headers, never the arrays.

    None where the file cannot be read or lacks inputs or outputs, which is logged: it is a help and no condition.
    """
    try:
        with zipfile.ZipFile(path) as arrays:
            inputs, outputs = _specs(arrays, "inputs/"), _specs(arrays, "outputs/")
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, InvalidInput) as error:
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
