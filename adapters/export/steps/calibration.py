"""Rows to find an 8-bit model's scales by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from adapters.export.steps.job import Job, Refusal

_MOST_ROWS = 500


def batches(job: Job, inputs: Mapping[str, Sequence[int | None]]) -> Iterator[dict[str, Any]]:
    """The calibration data in batches that the model takes: one row each, or as many as a fixed batch has.

    `inputs` are the model's, with their shapes. Of longer data, rows evenly from first to last.

    Raises:
        Refusal: there is none, or it does not fit the model.
    """
    if job.calibration is None:
        raise Refusal("int8 needs calibration data: --calibration data.npz, with arrays inputs/<tensor>")
    with np.load(job.calibration, allow_pickle=False) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    if given.keys() != inputs.keys() and len(given) == len(inputs):
        given = dict(zip(inputs, given.values(), strict=True))  # a converter has changed names
    for name, shape in inputs.items():
        _check(name, shape, given.get(name))
    step = next((shape[0] for shape in inputs.values() if shape and shape[0]), None) or 1
    rows = min(len(array) for array in given.values() if array.ndim)
    if rows < step:
        raise Refusal(f"calibration: the model takes batches of {step} rows, and there are {rows}")
    firsts = np.linspace(0, rows - step, min(rows // step, _MOST_ROWS)).astype(int)
    for first in firsts:
        yield {name: array[first : first + step] if array.ndim else array for name, array in given.items()}


def _check(name: str, shape: Sequence[int | None], array: Any) -> None:
    if array is None:
        raise Refusal(f"calibration: expected an array inputs/{name}")
    fits = array.ndim == len(shape) and all(
        size in (None, got) for size, got in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        wanted = ", ".join("-1" if size is None else str(size) for size in (None, *shape[1:]))
        raise Refusal(f"calibration: input '{name}' is of shape [{wanted}], got {list(array.shape)}")
