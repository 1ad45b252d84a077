"""What a conversion is told, and how it refuses. Only the standard library: any environment has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Report: TypeAlias = Callable[[float, str], None]
"""Takes how much is done, from 0 to 1, and what is done now."""


class Refusal(Exception):
    """The model, or what was asked for it, is at fault; the text is for who asked."""

    is_refusal = True


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One input as the caller described it: `shape` includes the batch axis, None is any size."""

    name: str
    datatype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion.

    `inputs` and `outputs` are the source's signature as far as it is known, in the model's order; `shapes` are fixed
    shapes that were asked for, by input, and `batch` a fixed batch. `calibration` is an .npz with an array [rows, …]
    for each input.
    """

    source: Path
    target: Path
    precision: str
    inputs: tuple[TensorPlan, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    batch: int | None
    calibration: Path | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Job:
        """The job as `adapters.export.convert` wrote it."""
        return cls(
            Path(told["source"]),
            Path(told["target"]),
            told["precision"],
            tuple(TensorPlan(each["name"], each["datatype"], _shape(each["shape"])) for each in told["inputs"]),
            tuple(told["outputs"]),
            {name: tuple(shape) for name, shape in told["shapes"].items()},
            told["batch"],
            Path(told["calibration"]) if told["calibration"] else None,
        )

    @property
    def fixed(self) -> bool:
        """Whether fixed shapes were asked for."""
        return self.batch is not None or bool(self.shapes)

    def fixed_shape(self, name: str, shape: Sequence[int | None], *, batch: int | None = None) -> tuple[int, ...]:
        """The shape of input `name` without free axes; its first axis, if free, is `batch` where none was asked for.

        Raises:
            Refusal: another axis is free, and nobody said how long it is to be; or what was said does not fit.
        """
        wanted = self.shapes.get(name)
        if wanted is not None:
            if len(wanted) != len(shape) or any(
                size not in (None, new) for size, new in zip(shape, wanted, strict=True)
            ):
                raise Refusal(f"--shape {name}={_show(wanted)} does not fit input '{name}' of shape [{_show(shape)}]")
            return wanted
        sizes = list(shape)
        if sizes and sizes[0] is None:
            sizes[0] = self.batch or batch
        elif sizes and self.batch is not None and sizes[0] != self.batch:
            raise Refusal(f"--batch {self.batch}: input '{name}' has the fixed shape [{_show(shape)}]")
        if None in sizes:
            example = ",".join("8" if size is None else str(size) for size in sizes)
            raise Refusal(
                f"input '{name}' has free axes, [{_show(shape)}], and fixed ones are needed here: "
                f"say how long they are, as in --shape {name}={example}"
            )
        return tuple(size for size in sizes if size is not None)


def _shape(sizes: Sequence[int | None] | None) -> tuple[int | None, ...] | None:
    return None if sizes is None else tuple(sizes)


def _show(shape: Sequence[int | None]) -> str:
    return ",".join("-1" if size is None else str(size) for size in shape)


def unsupported(target: str, operators: Mapping[str, Sequence[str]]) -> Refusal:
    """The refusal that names operators which the target lacks, each with the layers that use it."""
    named = "; ".join(f"{operator} ({_layers(layers)})" for operator, layers in sorted(operators.items()))
    return Refusal(f"{target} has no such operator: {named}. Replace the layer, or choose another format")


def _layers(layers: Sequence[str]) -> str:
    known = sorted({layer for layer in layers if layer})
    shown = ", ".join(f"'{layer}'" for layer in known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
    return f"layer {shown}" if known else "layer unknown"


def first_lines(error: BaseException, count: int = 1) -> str:
    """The first lines of an error's text that say something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " | ".join(lines[:count])[:600] or type(error).__name__


class Kept(logging.Handler):
    """Keeps what a converter logs as an error: many say there, and only there, what they lack."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.lines.append(record.getMessage())
