"""SavedModels, by the C library that serves them too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted
from adapters.tfserving.libtensorflow import LibTensorFlow
from adapters.tfserving.protos import config_pb2, saved_model_pb2, tensorflow_folders
from adapters.tfserving.saved_model import SavedModel
from adapters.tfserving.signatures import choose_signature

_PLUMBING = ("Const", "Placeholder", "Identity", "NoOp", "StatefulPartitionedCall", "PartitionedCall")
_VARIABLES = ("VarHandleOp", "ReadVariableOp")

_library = LibTensorFlow(tensorflow_folders())


def describe() -> str:
    """Name and version of the runtime."""
    return f"TensorFlow {_library.version}"


def load(path: Path, names: Names) -> Measurable:
    """Load a folder; raises TensorFlowError, or LoadFailed where it has no signature to serve."""
    return _Session(path)


class _Session:
    def __init__(self, path: Path) -> None:
        one_thread = config_pb2.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._path = path
        self._model = SavedModel(_library, path, one_thread.SerializeToString())
        name, signature = choose_signature(self._model.signatures, None)
        chosen = self._model.signatures[name]
        self._feeds = {key: info.name for key, info in chosen.inputs.items()}
        self._fetches = {key: chosen.outputs[key].name for key in sorted(chosen.outputs)}
        self.inputs = [Tensor(spec.name, str(spec.datatype), spec.shape) for spec in signature.inputs]
        self.outputs = [Tensor(spec.name, str(spec.datatype), spec.shape) for spec in signature.outputs]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        feeds = {self._feeds[name]: array for name, array in inputs.items()}
        return dict(zip(self._fetches, self._model.run(feeds, list(self._fetches.values())), strict=True))

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        content = saved_model_pb2.SavedModel.FromString((self._path / "saved_model.pb").read_bytes())
        graph = content.meta_graphs[0].graph_def
        nodes = _needed(graph, {name.partition(":")[0] for name in self._fetches.values()})
        return counted([op for op in nodes if op not in (*_PLUMBING, *_VARIABLES)])


def _needed(graph: Any, outputs: set[str]) -> list[str]:
    """The operators of all nodes that the outputs need, those of functions for each call."""
    functions = {each.signature.name: each for each in graph.library.function}
    by_name = {node.name: node for node in graph.node}
    found: list[str] = []
    pending, seen = list(outputs), set(outputs)
    while pending:
        node = by_name.get(pending.pop())
        if node is None:
            continue
        found += [node.op, *_called(node, functions, 0)]
        sources = {name.lstrip("^").partition(":")[0] for name in node.input} - seen
        seen |= sources
        pending += sources
    return found


def _called(node: Any, functions: Mapping[str, Any], depth: int) -> list[str]:
    names = [value.func.name for value in node.attr.values() if value.HasField("func")]
    found: list[str] = []
    for function in (functions[name] for name in names if name in functions and depth < 20):
        for each in function.node_def:
            found += [each.op, *_called(each, functions, depth + 1)]
    return found
