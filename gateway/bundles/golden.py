"""What a bundled model answers here, which devices compare their own answers with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from adapters.errors import InvalidInput
from adapters.export.comparing import pair
from adapters.export.data import Data
from adapters.export.measuring import Bounds, Measured, MeasuredTensor, Subject, measured
from adapters.tensors import DataType, Tensor, Tensors
from gateway.bundles.manifest import MOST_ROWS, Golden, GoldenTensor, Nearness, TensorInfo

_MOST_VALUES: Final = 1 << 19
_DIFFERENCE: Final[Mapping[str, float]] = {"fp32": 1e-3, "fp16": 1e-2, "dynamic": 5e-2, "int8": 5e-2}
"""How far another machine's answers may be, as a share of the largest value: only the order of its sums differs."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model's signature, and where there were rows for it, its answers to them."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    golden: Golden | None
    tolerance: Nearness | None


async def record(subject: Subject, data: Data | None, precision: str) -> Recorded:
    """Load a model in a child of its own, and have it answer at most MOST_ROWS of the rows, in one call.

    Of a model whose batch is fixed, it is that many rows.

    Raises:
        InferenceFailed: the model cannot be loaded, or fails.
        InvalidInput: the rows do not fit it, or what it answers cannot be written down.
    """
    with tempfile.TemporaryDirectory(prefix="torii-bundle-") as folder:
        names = (list(data.inputs), list(data.outputs)) if data else ([], [])
        async with measured(subject, *names, Bounds()) as model:
            if data is None:
                return Recorded(_infos(model.inputs, {}), _infos(model.outputs, {}), None, None)
            inputs = _fitting(data, model)
            outputs = await _run(model, inputs, Path(folder))
    golden = Golden(_golden(model.inputs, inputs), _golden(model.outputs, outputs))
    infos = _infos(model.inputs, inputs), _infos(model.outputs, outputs)
    return Recorded(*infos, golden, _nearness(outputs, _DIFFERENCE[precision]))


def _fitting(data: Data, model: Measured) -> dict[str, Tensor]:
    """The rows that one call takes, by the model's own names of its inputs."""
    names = pair(list(data.inputs), [each.name for each in model.inputs], "inputs")
    in_a_row = sum(array.size for array in data.inputs.values()) / data.rows
    most = model.fixed_rows or int(min(MOST_ROWS, max(1, _MOST_VALUES // in_a_row)))
    if model.fixed_rows and data.rows < model.fixed_rows:
        raise InvalidInput(f"{data.name}: the model takes {model.fixed_rows} rows at once, got {data.rows}")
    taken = data.sample(most)
    found = {names[name]: array for name, array in taken.inputs.items()}
    for tensor in model.inputs:
        if (spec := tensor.spec()) is not None:
            spec.check(_as(found[tensor.name], spec.datatype))
            found[tensor.name] = _as(found[tensor.name], spec.datatype)
    return found


def _as(array: Tensor, datatype: DataType) -> Tensor:
    """Floats in the model's own width; anything else as it is."""
    return array.astype(datatype.dtype) if array.dtype.kind == "f" and datatype.dtype.kind == "f" else array


async def _run(model: Measured, inputs: Tensors, folder: Path) -> dict[str, Tensor]:
    files = {name: folder / f"{index}.npy" for index, name in enumerate(inputs)}
    for name, file in files.items():
        np.save(file, inputs[name], allow_pickle=False)
    rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    outputs = await model.run(files, rows, rows, folder / "outputs")
    return {name: np.array(array) for name, array in outputs.items()}


def _infos(tensors: Sequence[MeasuredTensor], values: Tensors) -> tuple[TensorInfo, ...]:
    return tuple(_info(each, values.get(each.name)) for each in tensors)


def _info(tensor: MeasuredTensor, value: Tensor | None) -> TensorInfo:
    """As the format says; what it leaves open, as the values are, the rows free."""
    shape = tensor.shape
    if shape is None and value is not None:
        shape = (None, *value.shape[1:]) if value.ndim else ()
    datatype = tensor.datatype or (DataType.of(value.dtype) if value is not None else None)
    if shape is None or datatype is None:
        raise InvalidInput(
            f"'{tensor.name:.80}': this format does not say of what shape and datatype it is; golden data would"
        )
    return TensorInfo(tensor.name, datatype, tuple(-1 if size is None else size for size in shape))


def _golden(tensors: Sequence[MeasuredTensor], values: Tensors) -> tuple[GoldenTensor, ...]:
    return tuple(_written(each, values[each.name]) for each in tensors if each.name in values)


def _written(tensor: MeasuredTensor, array: Tensor) -> GoldenTensor:
    datatype = tensor.datatype or DataType.of(array.dtype)
    if datatype is DataType.BYTES:
        raise InvalidInput(f"'{tensor.name:.80}' holds texts, which golden data cannot; --without-golden leaves it out")
    if array.dtype.kind not in "biu":
        if not np.isfinite(array.astype(np.float64)).all():
            raise InvalidInput(
                f"'{tensor.name:.80}': the golden rows give a NaN or an infinity, which nothing is near to"
            )
        # The shortest text that is this value in its own width: a float64's would be twice as long.
        array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        array = array.astype(str).astype(np.float64)
    return GoldenTensor(tensor.name, datatype, tuple(array.shape), tuple(array.ravel().tolist()))


def _nearness(outputs: Tensors, share: float) -> Nearness:
    """So near that another machine's rounding passes, and another model does not.

    The best class must be the same in the rows where no such rounding could change it.
    """
    scale = max(
        (float(np.abs(array.astype(np.float64)).max()) for array in outputs.values() if array.size), default=0.0
    )
    max_abs = share * max(scale, 1e-6)
    rows = [array.astype(np.float64).reshape(-1, array.shape[-1]) for array in outputs.values() if _has_classes(array)]
    clear = [row for each in rows for row in _clear(each, 2 * max_abs)]
    return Nearness(float(f"{max_abs:.3g}"), float(np.floor(np.mean(clear) * 1000) / 1000) if clear else 0.0)


def _has_classes(array: Tensor) -> bool:
    return array.ndim > 1 and array.shape[-1] > 1 and prod(array.shape) > 0


def _clear(rows: Tensor, margin: float) -> list[bool]:
    best = np.sort(rows, axis=-1)[:, -2:]
    return [bool(clear) for clear in best[:, 1] - best[:, 0] > margin]
