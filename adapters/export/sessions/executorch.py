"""ExecuTorch programs, by ExecuTorch's Python runtime, in its own environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.runtime import Runtime

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted, named_outputs

# Its pool of threads is as large as the cores it may use, and cannot be told otherwise from Python.
with contextlib.suppress(AttributeError, OSError):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(1)

_METHOD = "forward"
_SCALAR_TYPES = {0: "UINT8", 1: "INT8", 2: "INT16", 3: "INT32", 4: "INT64", 5: "FP16", 6: "FP32", 7: "FP64", 11: "BOOL"}


def describe() -> str:
    """Name and version of the runtime."""
    return f"ExecuTorch {version('executorch')}"


def load(path: Path, names: Names) -> Measurable:
    """Load a file; raises whatever ExecuTorch does."""
    return _Session(path, names)


class _Session:
    def __init__(self, path: Path, names: Names) -> None:
        self._path = path
        self._program = Runtime.get().load_program(path)
        self._method = self._program.load_method(_METHOD)
        about = self._method.metadata
        inputs = [about.input_tensor_meta(index) for index in range(about.num_inputs())]
        outputs = [about.output_tensor_meta(index) for index in range(about.num_outputs())]
        self.inputs = [_told(meta, _name(names.inputs, len(inputs), i, "input")) for i, meta in enumerate(inputs)]
        self.outputs = [_told(meta, _name(names.outputs, len(outputs), i, "output")) for i, meta in enumerate(outputs)]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs = self._method.execute([torch.from_numpy(inputs[each.name]) for each in self.inputs])
        called = [each.name for each in self.outputs]
        # The runtime's memory is its own: the next run writes over it.
        return {name: output.numpy().copy() for name, output in named_outputs(list(outputs), called).items()}

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        file = deserialize_pte_binary(self._path.read_bytes())
        plan = getattr(file, "program", file).execution_plan[0]
        calls = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
        return counted([_called(plan, call) for call in calls if hasattr(call, "op_index") or _delegates(call)])


def _delegates(call: Any) -> bool:
    return hasattr(call, "delegate_index")


def _called(plan: Any, call: Any) -> str:
    """An operator, or the backend that a part of the model was handed to as a whole."""
    return str(plan.delegates[call.delegate_index].id if _delegates(call) else plan.operators[call.op_index].name)


def _name(names: Any, count: int, index: int, kind: str) -> str:
    return str(names[index]) if len(names) == count else f"{kind}_{index}"


def _told(meta: Any, name: str) -> Tensor:
    return Tensor(name, _SCALAR_TYPES.get(int(meta.dtype())), tuple(meta.sizes()))
