"""The runtimes that may be on a device: whichever is installed runs the bundles that fit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from torii_edge.errors import Unfit
from torii_edge.manifest import Manifest

Arrays = Mapping[str, NDArray[Any]]
_SIGNATURE: Final = "serving_default"


class Session(Protocol):
    """A loaded model, for any thread."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run it on inputs that fit its manifest."""


Load = Callable[[Path, Manifest], Session]
"""Loads a model file; raises anything where it cannot."""


class _Onnx:
    def __init__(self, path: Path, manifest: Manifest) -> None:
        runtime = import_module("onnxruntime")
        self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        answers = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, map(np.asarray, answers), strict=True))


class _Tflite:
    """LiteRT, or tflite-runtime where that is what is installed; an interpreter runs for one thread at a time."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        runtime = import_module(_first_installed("ai_edge_litert", "tflite_runtime") + ".interpreter")
        self._interpreter = runtime.Interpreter(model_path=str(path))
        self._inputs, self._outputs = _tensors(self._interpreter)
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._lock = Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        shapes = tuple(inputs[name].shape for name in self._inputs)
        with self._lock:
            if shapes != self._shapes:
                self._shapes = ()
                for index, shape in zip(self._inputs.values(), shapes, strict=True):
                    self._interpreter.resize_tensor_input(index, shape)
                self._interpreter.allocate_tensors()
                self._shapes = shapes
            for name, index in self._inputs.items():
                self._interpreter.set_tensor(index, inputs[name])
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


class _ExecuTorch:
    """Its tensors have no names: they are the manifest's, in their order."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._torch = import_module("torch")
        runtime = import_module("executorch.runtime").Runtime.get()
        self._program = runtime.load_program(path)  # the method lives in its memory
        self._forward = self._program.load_method("forward")
        self._inputs = [each.name for each in manifest.inputs]
        self._outputs = [each.name for each in manifest.outputs]
        self._lock = Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        with self._lock:
            given = [self._torch.from_numpy(np.array(inputs[name], order="C")) for name in self._inputs]
            answers = self._forward.execute(given)
            return {name: np.array(each) for name, each in zip(self._outputs, answers, strict=True)}


_MODULES: Final[Mapping[str, tuple[tuple[str, ...], Load]]] = {
    "tflite": (("ai_edge_litert", "tflite_runtime"), _Tflite),
    "onnxruntime": (("onnxruntime",), _Onnx),
    "executorch": (("executorch",), _ExecuTorch),
}


def installed_runtimes() -> dict[str, Load]:
    """What can be loaded here, by the runtime that a manifest names; the one to be preferred first."""
    return {name: load for name, (modules, load) in _MODULES.items() if any(find_spec(each) for each in modules)}


def _first_installed(*modules: str) -> str:
    for each in modules:
        if find_spec(each):
            return each
    raise Unfit(f"none of {', '.join(modules)} is installed")


def _tensors(interpreter: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Indices of inputs and outputs by the names of the model's signature, or of its tensors where it has none."""
    plain = [interpreter.get_input_details(), interpreter.get_output_details()]
    signatures = interpreter.get_signature_list()
    if signatures:
        name = _SIGNATURE if _SIGNATURE in signatures else next(iter(signatures))
        runner = interpreter.get_signature_runner(name)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        # A signature of another subgraph has indices of its own, which set_tensor does not know.
        if {each["index"] for each in inputs.values()} == {each["index"] for each in plain[0]}:
            return {key: each["index"] for key, each in inputs.items()}, {
                key: each["index"] for key, each in outputs.items()
            }
    inputs_, outputs_ = ({each["name"]: each["index"] for each in details} for details in plain)
    return inputs_, outputs_
