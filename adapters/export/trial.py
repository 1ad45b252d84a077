"""An export and its source, loaded side by side: the same rows to both, and turns at the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

import numpy as np

from adapters.errors import InferenceFailed, InvalidInput
from adapters.export.certificate import Latency
from adapters.export.comparing import compare, pair
from adapters.export.data import Data, DataKind, any_rows
from adapters.export.figures import Accuracy, OutputParity
from adapters.export.measuring import Measured, MeasuredTensor
from adapters.export.timing import Timed, Timing, latencies
from adapters.golden import invented_inputs
from adapters.tensors import DataType, Signature, Tensor, Tensors, TensorSpec

_log = logging.getLogger(__name__)

OnProgress: TypeAlias = Callable[[float, str], None]

MOST_ROWS: Final = 2048
"""Of longer files, so many rows are compared, evenly from first to last."""

_STEP = 32
_RANDOM_ROWS = 16
_MOST_OUTPUT_BYTES = 64 << 20
_KINDS = {"f": "floats", "i": "integers", "u": "integers"}


class Trial:
    """Both models, and a folder for what goes to them and comes back. Raises InferenceFailed where one fails."""

    def __init__(self, source: Measured, export: Measured, folder: Path, on_progress: OnProgress) -> None:
        self._source, self._export = source, export
        self._folder = folder
        self._on_progress = on_progress
        self._files: dict[str, Path] = {}
        self._batch = source.fixed_rows or export.fixed_rows

    async def rows_of(self, data: Data | None) -> Data:
        """The rows to try them with: `data`, or fewer where all would take too much; invented ones for None.

        Raises:
            InvalidInput: a model does not take these inputs, or none can be invented.
        """
        rows = _random_rows(self._source, self._export) if data is None else data.sample(MOST_ROWS)
        for side in (self._source, self._export):
            self._names(rows, side, check=True)
        await self._save(rows)
        step = self._step(self._source, rows.rows)
        if rows.rows > step:
            begun = monotonic()
            first = await self._source.run(self._named(rows, self._source), step, step, self._folder / "first")
            share = min(
                self._source.rows_s / max(monotonic() - begun, 1e-9),
                _MOST_OUTPUT_BYTES / max(1, sum(output.nbytes for output in first.values())),
            )
            rows = rows.sample(max(step, int(step * share)))
            await self._save(rows)
        return rows

    async def compared(self, rows: Data) -> tuple[list[OutputParity], Accuracy | None]:
        """Run both on all rows, and compare; raises InvalidInput where their outputs cannot be compared."""
        source = await self._outputs(self._source, rows, "source", 0.2)
        export = await self._outputs(self._export, rows, "export", 0.4)
        self._on_progress(0.62, "comparing")
        return await asyncio.to_thread(compare, source, export, rows.labels, _golden(rows.outputs, list(source)))

    async def _outputs(self, side: Measured, rows: Data, folder: str, begun: float) -> Tensors:
        def on_row(fraction: float, text: str) -> None:
            self._on_progress(begun + 0.2 * fraction, f"running {side.subject.form}: {text}")

        files, step = self._named(rows, side), self._step(side, rows.rows)
        return await side.run(files, rows.rows, step, self._folder / folder, on_row)

    async def timed(self, rows: Data, timing: Timing) -> tuple[Latency, Latency]:
        """The latencies of both, for one row where their batches are not fixed."""
        source, export = (
            Timed(side, self._named(rows, side), rows.rows, side.fixed_rows or self._batch or 1)
            for side in (self._source, self._export)
        )
        return await latencies(source, export, timing, lambda part: self._on_progress(0.65 + 0.3 * part, "timing"))

    async def operators(self, rows: Data) -> tuple[dict[str, int], dict[str, int]]:
        """The operators of both; none where a runtime does not tell. The last thing to ask: a refusal ends a child."""
        told: list[dict[str, int]] = []
        for side in (self._source, self._export):
            try:
                told.append(await side.operators(self._named(rows, side), side.fixed_rows or self._batch or 1))
            except InferenceFailed as error:
                _log.warning("operators not counted: %s", error)
                told.append({})
        return told[0], told[1]

    def _step(self, side: Measured, rows: int) -> int:
        return side.fixed_rows or self._batch or min(rows, _STEP)

    async def _save(self, rows: Data) -> None:
        for place, (name, array) in enumerate(rows.inputs.items()):
            self._files[name] = self._folder / f"input-{place}.npy"
            await asyncio.to_thread(np.save, self._files[name], _plain(array), allow_pickle=False)

    def _named(self, rows: Data, side: Measured) -> dict[str, Path]:
        return {theirs: self._files[ours] for ours, theirs in self._names(rows, side).items()}

    def _names(self, rows: Data, side: Measured, *, check: bool = False) -> dict[str, str]:
        whose = (rows.name, side.subject.where)
        names = pair(list(rows.inputs), [each.name for each in side.inputs] or list(rows.inputs), "inputs", whose)
        for tensor in side.inputs if check else ():
            ours = next(mine for mine, theirs in names.items() if theirs == tensor.name)
            _check(f"{rows.name}, for {side.subject.where}", rows.inputs[ours], tensor)
        return names


def _check(where: str, array: Tensor, tensor: MeasuredTensor) -> None:
    """Raises InvalidInput where an array is not what a model takes; floats of another width are, and such integers."""
    spec = tensor.spec()
    if spec is None:
        return
    kinds = (
        _KINDS.get(array.dtype.kind),
        _KINDS.get(spec.datatype.dtype.kind, "floats" if spec.datatype is DataType.BF16 else None),
    )
    fits = kinds[0] == kinds[1] == "floats" or (
        kinds[0] == kinds[1] == "integers" and np.array_equal(array.astype(spec.datatype.dtype), array)
    )
    expected = TensorSpec(spec.name, DataType.of(array.dtype) if fits else spec.datatype, spec.shape)
    try:
        any_rows(expected).check(array)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _random_rows(source: Measured, export: Measured) -> Data:
    """Invented rows for the source, or by what the export says where the source does not say what it takes."""
    for side in (source, export):
        specs = [each.spec() for each in side.inputs]
        sized = [
            TensorSpec(s.name, s.datatype, (_RANDOM_ROWS, *s.shape[1:]) if s.shape else s.shape) for s in specs if s
        ]
        if specs and len(sized) == len(specs):
            inputs = invented_inputs(Signature(tuple(sized), ()))
            if inputs:
                return Data("random rows", DataKind.RANDOM, inputs)
    raise InvalidInput(
        f"{source.subject.where} does not say what it takes, so no rows can be invented: give some, "
        "as golden.npz in the version's folder or as calibration data"
    )


def _plain(array: Tensor) -> Tensor:
    return array.astype(np.bytes_) if array.dtype.hasobject else np.ascontiguousarray(array)


def _golden(right: Mapping[str, Tensor], outputs: list[str]) -> dict[str, Tensor]:
    names = (
        pair(outputs, list(right), "outputs")
        if len(right) == len(outputs)
        else dict(zip(outputs, outputs, strict=True))
    )
    return {ours: right[theirs] for ours, theirs in names.items() if theirs in right}
