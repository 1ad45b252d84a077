"""The inputs that all deployments are asked with: of the golden data, or invented; and what is right for them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from loadtests.verdict.answers import Array, Arrays, Odd, best_classes, pair, shapes

_MOST_ROWS: Final = 512
_MOST_BYTES: Final = 1 << 30
_MOST_ARRAYS: Final = 1000


class BadGolden(Exception):
    """Golden data that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Arrays by tensor, axis 0 the rows. `outputs` are the right answers, `labels` [rows] the right classes.

    Either may be missing; both are where inputs are invented.
    """

    name: str
    inputs: Arrays
    outputs: Arrays = field(default_factory=dict)
    labels: Array | None = None

    @property
    def count(self) -> int:
        """How many rows there are; one where no input has axes."""
        return max([len(each) for each in self.inputs.values() if each.ndim], default=1)

    @property
    def classes(self) -> tuple[Array | None, Literal["labels", "golden outputs", ""]]:
        """[rows], the right class of each, and what says so: the labels, else the best class of the right answers."""
        if self.labels is not None:
            return self.labels, "labels"
        best = best_classes(self.outputs)
        return best, "" if best is None else "golden outputs"


def golden(content: bytes) -> Rows:
    """A golden file's: `inputs/<tensor>`, `outputs/<tensor>`, `labels`; 512 rows at most, evenly from first to last.

    Raises:
        BadGolden: it is no such file, or larger than anybody should hold.
    """
    try:
        arrays = _arrays(content)
    except BadGolden:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged archive raises whatever its reader stumbles over
        raise BadGolden(f"the golden data cannot be read: {error!s:.200}") from None
    inputs = _under("inputs/", arrays)
    if not inputs:
        raise BadGolden("the golden data has no arrays inputs/<tensor>")
    rows = {len(each) for each in arrays.values() if each.ndim}
    if len(rows) > 1 or 0 in rows:
        raise BadGolden(
            f"the golden data's arrays have {', '.join(map(str, sorted(rows)))} rows; expected the same, 1 or more"
        )
    labels = arrays.get("labels")
    if labels is not None and (labels.dtype.kind not in "iu" or labels.ndim != 1):
        raise BadGolden(f"the golden data's labels are {labels.dtype} {list(labels.shape)}; expected integers [rows]")
    return Rows("golden data", inputs, _under("outputs/", arrays), labels)


def _arrays(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS or sum(each.file_size for each in members) > _MOST_BYTES:
            raise BadGolden(
                f"the golden data has more than {_MOST_ARRAYS} arrays, or takes more than {_MOST_BYTES} bytes"
            )
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return {name: _as_bytes(_sample(found[name])) for name in found.files}


def _as_bytes(array: Array) -> Array:
    """Texts and fixed bytes of numpy's as what BYTES are: objects."""
    if array.dtype.kind not in "SU":
        return array
    return (np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array).astype(np.object_)


def _sample(array: Array) -> Array:
    if not array.ndim or len(array) <= _MOST_ROWS:
        return array
    return np.asarray(array[np.linspace(0, len(array) - 1, _MOST_ROWS).astype(np.intp)])


def _under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)}


def requests(rows: Rows, metadata: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    """What is sent to a deployment, by its own names: a row each, or as many as its fixed batch takes.

    Args:
        rows: The inputs.
        metadata: V2's, of the deployment.

    Raises:
        Odd: the deployment takes other inputs.
    """
    wanted = {each["name"]: tuple(each["shape"]) for each in metadata.get("inputs", [])}
    names = pair(shapes(rows.inputs), wanted)
    fixed = [wanted[names[name]][:1] for name, each in rows.inputs.items() if each.ndim]
    batch = max([1, *(size[0] for size in fixed if size and size[0] > 0)])
    count = rows.count
    for name, each in rows.inputs.items():
        if each.ndim and wanted[names[name]] and len(wanted[names[name]]) != each.ndim:
            raise Odd(
                f"input '{name}' has the shape {list(each.shape)}, '{names[name]}' of it {list(wanted[names[name]])}"
            )
    for begin in range(0, count, batch):
        places = np.minimum(np.arange(begin, begin + batch), count - 1)  # the last is filled up with copies
        yield {names[name]: each[places] if each.ndim else each for name, each in rows.inputs.items()}


def stacked(inputs: Sequence[Arrays]) -> dict[str, Array]:
    """Inputs of several requests as rows; raises Odd where they are not alike."""
    return together(inputs, sum(max([len(each) for each in one.values() if each.ndim], default=1) for one in inputs))


def together(answers: Sequence[Arrays], rows: int) -> dict[str, Array]:
    """The outputs of all requests as arrays [rows, …]; copies that filled a batch up are left out.

    Raises:
        Odd: answers to the same kind of request differ in their names or shapes.
    """
    names = list(answers[0])
    if any(list(each) != names for each in answers):
        raise Odd("its answers do not always have the same outputs")
    try:
        return {name: np.concatenate([np.atleast_1d(each[name]) for each in answers])[:rows] for name in names}
    except ValueError as error:
        raise Odd(f"its answers do not fit together: {error!s:.200}") from None
