"""Tensors to trace a torch model with, and what its outputs are called."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adapters.export.steps.archive import checked_copy
from adapters.export.steps.job import Job, Refusal, first_lines

TRACED_ROWS = 2
"""Where the batch axis stays free: a trace with one row could take the 1 for a property of the model."""

_TYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}


def read_torchscript(path: Path) -> torch.jit.ScriptModule:
    """A TorchScript model, ready to infer; raises Refusal where the file is none."""
    try:
        model: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:
        reason = f"{path.name} is not TorchScript that torch {torch.__version__} reads: {first_lines(error)}"
        raise Refusal(f"{reason}. Save it with torch.jit.save; a pickle is never opened") from error
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def read_exported(path: Path) -> torch.export.ExportedProgram:
    """A program of torch.export; raises Refusal where the file is none, or would run code."""
    with tempfile.TemporaryDirectory() as folder:
        copy = checked_copy(path, Path(folder))
        try:
            return torch.export.load(copy)
        except Exception as error:
            raise Refusal(
                f"{path.name} is no .pt2 that torch {torch.__version__} reads: {first_lines(error)}"
            ) from error


def example_inputs(job: Job, names: Sequence[str], *, rows: int) -> dict[str, torch.Tensor]:
    """One tensor for each argument, by its name, with `rows` where the batch axis is free and none was asked for.

    Raises:
        Refusal: a shape is not known, or nobody said how long a free axis is to be.
    """
    plans = {plan.name: plan for plan in job.inputs}
    if plans.keys() != set(names) and len(plans) == len(names):
        plans = dict(zip(names, job.inputs, strict=True))  # the signature calls them otherwise: by position
    found: dict[str, torch.Tensor] = {}
    for name in names:
        plan = plans.get(name)
        shape = plan.shape if plan is not None else job.shapes.get(name)
        if shape is None:
            raise Refusal(
                f"nothing says what shape input '{name}' has: put a golden.npz beside the model, "
                f"declare its signature in model.toml, or say it, as in --shape {name}=1,8,8,1"
            )
        datatype = plan.datatype if plan is not None else "FP32"
        if datatype not in _TYPES:
            raise Refusal(f"input '{name}': torch has no tensors of {datatype}")
        sizes = job.fixed_shape(plan.name if plan is not None else name, shape, batch=rows)
        found[name] = torch.zeros(sizes, dtype=_TYPES[datatype])
    return found


def free_axes(job: Job, names: Sequence[str]) -> list[dict[int, Any]]:
    """For torch.export: the axes of each argument that stay free, if torch finds that they can."""
    shapes = [plan.shape for plan in job.inputs] if len(job.inputs) == len(names) else [None] * len(names)
    if job.fixed:
        return [{} for _ in names]
    return [{axis: torch.export.Dim.AUTO for axis, size in enumerate(shape or ()) if size is None} for shape in shapes]


def arguments_of(model: torch.jit.ScriptModule) -> list[str]:
    """The names of forward's tensors."""
    schema = model.forward.schema  # type: ignore[attr-defined]
    return [each.name for each in schema.arguments[1:] if "Tensor" in str(each.type) and not each.has_default_value()]


def output_names(job: Job, count: int) -> list[str]:
    """As the signature has them, else as Torii calls outputs without names; raises Refusal where the count differs."""
    if job.outputs and len(job.outputs) != count:
        raise Refusal(
            f"the signature names {len(job.outputs)} outputs ({', '.join(job.outputs)}), the model gives {count}"
        )
    return list(job.outputs) or [f"output_{index}" for index in range(count)]


def outputs_of(answer: object) -> list[torch.Tensor]:
    """The tensors that a model gave, in order; raises Refusal for anything else."""
    given = list(answer.values()) if isinstance(answer, dict) else answer
    given = list(given) if isinstance(given, tuple | list) else [given]
    values = [value for value in given if isinstance(value, torch.Tensor)]
    if len(values) != len(given):
        raise Refusal(
            "forward gives something else than tensors; only a tensor, or a tuple or dict of them, is converted"
        )
    return values
