"""Arrays as a model wants them: checked against its manifest, and a few rows at a time where its batch is fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torii_edge.manifest import Manifest, TensorSpec
from torii_edge.runtimes import Arrays, Session


def run(session: Session, manifest: Manifest, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Run a model on arrays by name; sizes and types are the manifest's.

    Where the model takes a fixed number of rows, a multiple of it is run in parts.

    Raises:
        ValueError: an input is missing, unknown, or of another shape or type.
    """
    names = {each.name for each in manifest.inputs}
    if set(inputs) != names:
        raise ValueError(f"inputs: expected {', '.join(sorted(names))}, got {', '.join(sorted(inputs)) or 'none'}")
    arrays = {spec.name: _fitting(spec, inputs[spec.name]) for spec in manifest.inputs}
    parts = _parts(manifest, arrays)
    if parts == 1:
        return _named(manifest, session.run(arrays))
    split = {name: np.split(array, parts) for name, array in arrays.items()}
    answers = [session.run({name: each[index] for name, each in split.items()}) for index in range(parts)]
    return _named(manifest, {name: np.concatenate([each[name] for each in answers]) for name in answers[0]})


def _named(manifest: Manifest, answers: Arrays) -> dict[str, NDArray[Any]]:
    """The outputs that the manifest names; where it names none, all there are."""
    names = [each.name for each in manifest.outputs]
    return {name: answers[name] for name in names} if names else dict(answers)


def _fitting(spec: TensorSpec, given: ArrayLike) -> NDArray[Any]:
    array = np.asarray(given)
    if array.dtype != spec.dtype:
        if not np.can_cast(array.dtype, spec.dtype, "same_kind"):
            raise ValueError(f"input {spec.name!r}: expected {spec.dtype}, got {array.dtype}")
        array = array.astype(spec.dtype)
    fits = len(array.shape) == len(spec.shape) and all(
        wanted is None or size == wanted or (axis == 0 and wanted > 0 and size > 0 and size % wanted == 0)
        for axis, (size, wanted) in enumerate(zip(array.shape, spec.shape, strict=False))
    )
    if not fits:
        wanted = [-1 if size is None else size for size in spec.shape]
        raise ValueError(f"input {spec.name!r}: expected shape {wanted}, got {list(array.shape)}")
    return np.ascontiguousarray(array).reshape(array.shape)


def _parts(manifest: Manifest, arrays: Arrays) -> int:
    """In how many parts it is run: as many as the first axis of each input is a multiple of the model's."""
    parts = {
        arrays[spec.name].shape[0] // spec.shape[0] if spec.shape and spec.shape[0] else 1 for spec in manifest.inputs
    }
    if len(parts) > 1:
        raise ValueError(f"inputs: expected the same number of rows in each, got {sorted(parts)} times the model's")
    return parts.pop() if parts else 1
