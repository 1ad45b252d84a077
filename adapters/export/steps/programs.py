"""Programs of torch.export: the names of their inputs, and where an operator comes from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adapters.export.steps.job import Job, Refusal


def input_names(job: Job, program: torch.export.ExportedProgram) -> list[str]:
    """As the signature has them, else forward's own."""
    own = list(program.graph_signature.user_inputs)
    return [plan.name for plan in job.inputs] if len(job.inputs) == len(own) else [str(name) for name in own]


def fixed_examples(job: Job, program: torch.export.ExportedProgram, names: Sequence[str]) -> list[torch.Tensor]:
    """A tensor for each input without free axes, one row where the batch axis was free and none was asked for.

    Raises:
        Refusal: another axis is free, and nobody said how long it is to be.
    """
    own = list(program.graph_signature.user_inputs)
    found = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    plans = {plan.name: plan for plan in job.inputs}
    examples = []
    for name, inner in zip(names, own, strict=True):
        value = found.get(str(inner))
        if not isinstance(value, torch.Tensor):
            raise Refusal(f"input '{name}' of the program is no tensor")
        free: list[int | None] = [size if isinstance(size, int) else None for size in value.shape]
        if (plan := plans.get(name)) and plan.shape and len(plan.shape) == len(free):
            free = [size or known for size, known in zip(free, plan.shape, strict=True)]
        examples.append(torch.zeros(job.fixed_shape(name, free, batch=1), dtype=value.dtype))
    return examples


def layers_using(program: torch.export.ExportedProgram, operator: str) -> list[str]:
    """The modules, by their path in the model, whose code calls an operator ('aten::add', 'aten.add.Tensor')."""
    wanted = operator.replace("::", ".").split(".")[:2]
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return [_layer(node) for node in calls if str(node.target).split(".")[:2] == wanted]


def _layer(node: torch.fx.Node) -> str:
    modules = list((node.meta.get("nn_module_stack") or {}).values())
    return (modules[-1][0] if modules else "") or node.name
