"""TorchScript files, by torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted, named_outputs

torch.set_num_threads(1)


def describe() -> str:
    """Name and version of the runtime."""
    return f"torch {torch.__version__}"


def load(path: Path, names: Names) -> Measurable:
    """Load a file of torch.jit.save, never a pickle; raises whatever torch does."""
    return _Session(torch.jit.load(str(path), map_location="cpu").eval(), names)  # type: ignore[no-untyped-call]


class _Session:
    def __init__(self, model: Any, names: Names) -> None:
        self._model = model
        self._names = names
        self._arguments = [each.name for each in model.forward.schema.arguments[1:] if "Tensor" in str(each.type)]
        called = names.inputs if names.inputs else self._arguments
        self.inputs = [Tensor(name, None, None) for name in called]
        self.outputs = [Tensor(name, None, None) for name in names.outputs]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch.inference_mode():
            if tensors.keys() <= set(self._arguments):
                outputs = self._model(**tensors)
            else:
                outputs = self._model(*(tensors[each.name] for each in self.inputs))
        return {name: to_numpy(output) for name, output in named_outputs(outputs, self._names.outputs).items()}

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        # Frozen, what decides by constants is decided, and branches that never run are gone.
        return counted(_kinds(torch.jit.freeze(self._model).inlined_graph))


def to_numpy(output: torch.Tensor) -> Array:
    """An output as an array; numpy has no bfloat16, and float32 holds each of its values."""
    array: Array = (output.float() if output.dtype is torch.bfloat16 else output).contiguous().numpy()
    return array


def _kinds(block: Any) -> list[str]:
    found: list[str] = []
    for node in block.nodes():
        kind = node.kind()
        if kind.startswith("aten::"):
            found.append(kind)
        for inner in node.blocks():
            found += _kinds(inner)
    return found
