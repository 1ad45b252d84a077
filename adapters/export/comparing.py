"""How far apart two models' outputs are: pure numpy, in memory that does not grow with the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from adapters.errors import InvalidInput
from adapters.export.figures import BIN_EXPONENTS, Accuracy, Differences, OutputParity
from adapters.tensors import DataType, Tensor, Tensors, show_shape

_CHUNK_ELEMENTS = 1 << 20
_AMOUNTS = "f"
_SMALL_INTEGERS = ("uint8", "int8", "uint16", "int16")
"""Quantized models answer in these: amounts, not counts."""

_TIE = 1e-6
"""Scores this near to the best, as a share of the largest, are as good: so far the source itself is rounded."""

Pairs: TypeAlias = Mapping[str, str]


def pair(
    source: Sequence[str],
    export: Sequence[str],
    what: str,
    whose: tuple[str, str] = ("the source", "the export"),
) -> dict[str, str]:
    """The export's name of each of the source's tensors: the same name, and in order for those that it lacks.

    A wrong guess cannot pass for right: what is compared then differs.

    Raises:
        InvalidInput: there are not as many.
    """
    if len(source) != len(export):
        ours, theirs = (", ".join(names) or "none" for names in (source, export))
        raise InvalidInput(f"{whose[0]} has the {what} {ours}, {whose[1]} {theirs}")
    rest = iter([name for name in export if name not in source])
    return {name: name if name in export else next(rest) for name in source}


def compare(
    source: Tensors, export: Tensors, labels: Tensor | None = None, golden: Tensors | None = None
) -> tuple[list[OutputParity], Accuracy | None]:
    """Compare outputs of the same rows, axis 0 the rows; those without a common name by their shapes, then in order.

    `labels` are [rows] right classes, `golden` right outputs.

    Raises:
        InvalidInput: an output is missing or of another shape, or no output is scores of the classes in `labels`.
    """
    names = pair(list(source), _alike(source, export), "outputs")
    golden = golden or {}
    outputs = [_parity(name, names[name], source[name], export[names[name]], golden.get(name)) for name in source]
    return outputs, None if labels is None else _accuracy(source, export, names, labels)


def _alike(source: Tensors, export: Tensors) -> list[str]:
    """The export's names, those that the source lacks put where the source has one of the same shape."""
    rest = [name for name in export if name not in source]
    found: list[str] = [name for name in export if name in source]
    for name in source:
        if name not in export and rest:
            same = (each for each in rest if export[each].shape == source[name].shape)
            found.append(rest.pop(rest.index(next(same, rest[0]))))
    return found + rest


@dataclass(slots=True)
class _Sums:
    """What adds up over chunks, in units of the largest value of either side: so no sum and no square overflows."""

    unit: float
    largest: float = 0.0
    row: int = 0
    sum: float = 0.0
    finite: int = 0
    equal: int = 0
    dot: float = 0.0
    squares_source: float = 0.0
    squares_export: float = 0.0
    nans_source: int = 0
    nans_export: int = 0
    infinities: int = 0
    zero: int = 0
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(BIN_EXPONENTS) - 1, np.int64))

    def add(self, first_row: int, source: Tensor, export: Tensor) -> None:
        same = np.asarray(source == export)
        self.equal += int(same.sum())
        one, other = _amounts(source), _amounts(export)
        self.nans_source += int(np.isnan(one).sum())
        self.nans_export += int(np.isnan(other).sum())
        numbers = np.isfinite(one) & np.isfinite(other)
        self.infinities += int((~(numbers | same | np.isnan(one) | np.isnan(other))).sum())
        differences = _differences(one, other, same)
        differences[~(numbers | same)] = 0.0
        at = int(differences.argmax()) if differences.size else 0
        if differences.size and differences.flat[at] > self.largest:
            self.largest = float(differences.flat[at])
            self.row = first_row + at // max(1, differences.size // max(1, len(differences)))
        self.sum += float((differences / self.unit).sum())
        self.finite += int((numbers | same).sum())
        self._count(differences[numbers | same])
        self._similar(one[numbers], other[numbers])

    def _count(self, differences: Tensor) -> None:
        some = differences[differences > 0]
        self.zero += differences.size - some.size
        inner = np.array(BIN_EXPONENTS[1:-1])
        self.bins += np.bincount(np.searchsorted(inner, np.log10(some), side="right"), minlength=len(inner) + 1)

    def _similar(self, source: Tensor, export: Tensor) -> None:
        one, other = source / self.unit, export / self.unit
        self.dot += float(one @ other)
        self.squares_source += float(one @ one)
        self.squares_export += float(other @ other)

    def mean(self) -> float:
        return min(self.sum / max(self.finite, 1) * self.unit, self.largest)

    def cosine(self) -> float | None:
        if self.nans_source or self.nans_export or self.infinities:
            return None
        lengths = float(np.sqrt(self.squares_source) * np.sqrt(self.squares_export))
        if not lengths:
            return 1.0 if self.squares_source == self.squares_export else 0.0
        return min(1.0, max(-1.0, self.dot / lengths))


def _parity(name: str, export_name: str, source: Tensor, export: Tensor, golden: Tensor | None) -> OutputParity:
    if source.shape != export.shape:
        shapes = f"{show_shape(source.shape)}, the export's '{export_name}' {show_shape(export.shape)}"
        raise InvalidInput(f"output '{name}': the source gives {shapes}")
    counted = source.dtype.kind not in _AMOUNTS and source.dtype.name not in _SMALL_INTEGERS
    scale = _largest_value(source)
    sums = _Sums(max(scale, _largest_value(export)) or 1.0)
    for first_row, one, other in _chunks(source, export):
        sums.add(first_row, one, other)
    scores = _are_scores(source) and not counted
    return OutputParity(
        source=name,
        export=export_name,
        datatype=str(DataType.of(source.dtype)),
        shape=list(source.shape),
        elements=source.size,
        scale=scale,
        largest=sums.largest,
        largest_in_row=sums.row,
        mean=sums.mean(),
        cosine=None if counted else sums.cosine(),
        equal=sums.equal / source.size if source.size else 1.0,
        argmax=_agreement(source, export, scale) if scores else None,
        nans_source=sums.nans_source,
        nans_export=sums.nans_export,
        infinities=sums.infinities,
        differences=Differences(sums.zero, sums.bins.tolist()),
        counted=counted,
        golden_source=_distance(golden, source),
        golden_export=_distance(golden, export),
    )


def _amounts(values: Tensor) -> Tensor:
    return np.zeros(values.shape) if values.dtype.hasobject else values.astype(np.float64)


def _differences(one: Tensor, other: Tensor, same: Tensor) -> Tensor:
    with np.errstate(over="ignore", invalid="ignore"):
        apart: Tensor = np.minimum(np.abs(one - other), np.finfo(np.float64).max)
    # Bytes, and integers beyond 2^53, may differ where their numbers as float64 do not.
    apart[~same & (apart == 0)] = np.finfo(np.float64).tiny
    apart[same] = 0.0
    return apart


def _chunks(source: Tensor, export: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Rows of both, as many as are no more than a chunk's elements, with the number of the first."""
    source, export = np.atleast_1d(source), np.atleast_1d(export)
    step = max(1, _CHUNK_ELEMENTS // max(1, source.size // max(1, len(source))))
    for start in range(0, len(source), step):
        yield start, source[start : start + step], export[start : start + step]


def _largest_value(values: Tensor) -> float:
    largest = 0.0
    for _, chunk, _ in _chunks(values, values):
        numbers = np.abs(_amounts(chunk))
        largest = max(largest, float(numbers[np.isfinite(numbers)].max(initial=0.0)))
    return largest


def _are_scores(output: Tensor) -> bool:
    return output.ndim == 2 and output.shape[1] > 1


def _agreement(source: Tensor, export: Tensor, scale: float) -> float:
    """The share of rows where the export's best class is the source's best, or as good by the source itself."""
    agreed = 0
    for _, one, other in _chunks(source, export):
        first, second = _amounts(one), _amounts(other)
        chosen = np.take_along_axis(first, second.argmax(axis=1)[:, None], axis=1)[:, 0]
        numbers = ~(np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1))
        agreed += int((numbers & (chosen >= first.max(axis=1) - _TIE * scale)).sum())
    return agreed / len(source) if len(source) else 1.0


def _distance(golden: Tensor | None, output: Tensor) -> float | None:
    if golden is None or golden.shape != output.shape or golden.dtype.hasobject or output.dtype.hasobject:
        return None
    largest = 0.0
    for _, one, other in _chunks(golden, output):
        right, given = _amounts(one), _amounts(other)
        apart = _differences(right, given, right == given)
        largest = max(largest, float(np.nan_to_num(apart, nan=0.0).max(initial=0.0)))
    return largest


def _accuracy(source: Tensors, export: Tensors, names: Pairs, labels: Tensor) -> Accuracy:
    classes = int(labels.max(initial=0)) + 1
    for name, output in source.items():
        if _are_scores(output) and output.shape[1] >= classes and len(output) == len(labels):
            before, after = (_right(each, labels) for each in (output, export[names[name]]))
            return Accuracy(name, len(labels), before, after)
    shapes = ", ".join(f"'{name}' {show_shape(output.shape)}" for name, output in source.items())
    raise InvalidInput(f"labels go up to {classes - 1}, and no output is scores of {classes} classes: {shapes}")


def _right(scores: Tensor, labels: Tensor) -> float:
    right = 0
    for first_row, chunk, _ in _chunks(scores, scores):
        amounts = _amounts(chunk)
        numbers = ~np.isnan(amounts).any(axis=1)
        right += int((numbers & (amounts.argmax(axis=1) == labels[first_row : first_row + len(chunk)])).sum())
    return right / len(labels)
