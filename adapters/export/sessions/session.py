"""What measuring asks of a loaded model. Only numpy: any environment has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output: its datatype as the protocol names it, its shape with None for a free axis.

    What a format does not say is None: the datatype, and the whole shape.
    """

    name: str
    datatype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Names:
    """What tensors are called, in the model's order, for formats that do not say."""

    inputs: Sequence[str]
    outputs: Sequence[str]


class Measurable(Protocol):
    """A loaded model, on one thread."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """What it takes, in its order."""
        ...

    @property
    def outputs(self) -> Sequence[Tensor]:
        """What it gives, in its order; nothing where only a run shows it."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run it; any exception is the model's failure."""
        ...

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        """How often each operator is used in one run on `inputs`."""
        ...


def counted(names: Sequence[str]) -> dict[str, int]:
    """How often each name is there, the most frequent first."""
    kinds = sorted(set(names), key=lambda name: (-names.count(name), name))
    return {kind: names.count(kind) for kind in kinds}


def named_outputs(outputs: object, names: Sequence[str]) -> dict[str, Any]:
    """A model's answer by name: its own names, else those that are given, else output_0, output_1, …."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    values = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    given = names if len(names) == len(values) else [f"output_{index}" for index in range(len(values))]
    return dict(zip(given, values, strict=True))


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a numpy dtype."""
    if dtype.name == "bfloat16":
        return "BF16"
    kinds = {"f": "FP", "i": "INT", "u": "UINT"}
    return (
        "BOOL" if dtype.kind == "b" else f"{kinds[dtype.kind]}{dtype.itemsize * 8}" if dtype.kind in kinds else "BYTES"
    )
