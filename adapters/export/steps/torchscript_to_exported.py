"""TorchScript to a program of torch.export; the batch axis stays free where torch can keep it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch._export.converter import TS2EPConverter

from adapters.export.steps.job import Job, Refusal, Report, first_lines
from adapters.export.steps.torch_inputs import TRACED_ROWS, arguments_of, example_inputs, free_axes, read_torchscript

TOOLS = ("torch",)


class _Calling(torch.nn.Module):
    def __init__(self, model: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.model(*tensors)


def run(told: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """By torch's converter of the graph, or where that fails, by tracing the operators as they run."""
    job = Job.of(told)
    report(0.2, "reading the TorchScript model")
    model = read_torchscript(job.source)
    examples = example_inputs(job, arguments_of(model), rows=TRACED_ROWS)
    report(0.4, "converting to a program of torch.export")
    torch.export.save(_converted(model, tuple(examples.values()), free_axes(job, list(examples))), job.target)
    return {}


def _converted(
    model: torch.jit.ScriptModule, examples: tuple[torch.Tensor, ...], free: list[dict[int, Any]]
) -> torch.export.ExportedProgram:
    try:
        # torch.export refuses TorchScript, and names this converter in its error; there is no public one. It leaves
        # every axis free that it can, so its program is exported once more.
        module = TS2EPConverter(model, examples).convert().module()
        return torch.export.export(module, examples, dynamic_shapes=free)
    except Exception as first:  # noqa: BLE001  # it is told where the other way fails too
        try:
            return torch.export.export(_Calling(model), examples, strict=False)
        except Exception as error:
            reasons = f"{first_lines(first)}; and traced: {first_lines(error)}"
            raise Refusal(f"torch {torch.__version__} cannot make a program of this TorchScript: {reasons}") from error
