"""Files of torch.export, by torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted, named_outputs
from adapters.export.sessions.torchscript import to_numpy
from adapters.export.steps.torch_inputs import read_exported

torch.set_num_threads(1)


def describe() -> str:
    """Name and version of the runtime."""
    return f"torch {torch.__version__}"


def load(path: Path, names: Names) -> Measurable:
    """Load a file, whose archive is checked before torch opens it; raises whatever torch does."""
    return _Session(read_exported(path), names)


class _Session:
    def __init__(self, program: torch.export.ExportedProgram, names: Names) -> None:
        self._program = program
        self._module: Any = program.module()
        self._names = names
        placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        users = [placeholders[str(name)] for name in program.graph_signature.user_inputs if str(name) in placeholders]
        called = names.inputs if len(names.inputs) == len(users) else [node.name for node in users]
        self.inputs = [_told(name, node) for name, node in zip(called, users, strict=True)]
        self.outputs = [Tensor(name, None, None) for name in names.outputs]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = [torch.from_numpy(inputs[each.name]) for each in self.inputs]
        with torch.inference_mode():
            outputs = self._module(*tensors)
        return {name: to_numpy(output) for name, output in named_outputs(outputs, self._names.outputs).items()}

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        calls = [node for node in self._program.graph.nodes if node.op == "call_function"]
        return counted([str(node.target).removesuffix(".default") for node in calls])


def _told(name: str, node: Any) -> Tensor:
    value = node.meta["val"]
    datatype = str(value.dtype).removeprefix("torch.")
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Tensor(name, _DATATYPES.get(datatype), sizes)


_DATATYPES = {
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    "uint8": "UINT8",
    "bool": "BOOL",
}
