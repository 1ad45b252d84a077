"""TensorFlow Lite, inside a worker: LiteRT, or tflite-runtime where that is what is installed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adapters.cores import threads_each
from adapters.errors import LoadFailed
from adapters.tensors import DataType, Signature, Tensor, Tensors, TensorSpec

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    _NAME = f"LiteRT {version('ai-edge-litert')}"
except ImportError:
    from tflite_runtime.interpreter import Interpreter, OpResolverType

    _NAME = f"tflite-runtime {version('tflite-runtime')}"

_MAX_INTERPRETERS = 8
_SIGNATURE = "serving_default"


class TfliteSession:
    """A loaded TFLite model: an interpreter for each recent set of input shapes.

    Giving an interpreter other shapes costs more than a run of a small model, so those in use are kept.
    """

    def __init__(self, model: bytes, threads: int, xnnpack: bool = True) -> None:
        self._model = model
        self._threads = threads
        self._xnnpack = xnnpack
        self._interpreters: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()
        interpreter = self._new()
        inputs, outputs = _details(interpreter)
        self._inputs = {name: detail["index"] for name, detail in inputs.items()}
        self._outputs = {name: detail["index"] for name, detail in outputs.items()}
        self.signature = Signature(
            tuple(_spec(name, detail) for name, detail in inputs.items()),
            tuple(_spec(name, detail) for name, detail in outputs.items()),
        )

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """See Session.run."""
        shapes = tuple(inputs[name].shape for name in self._inputs)
        interpreter = self._interpreters.get(shapes)
        if interpreter is None:
            interpreter = self._shaped(shapes)
        self._interpreters.move_to_end(shapes)
        for name, index in self._inputs.items():
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()
        return {name: _array(interpreter.get_tensor(index)) for name, index in self._outputs.items()}

    def share(self) -> TfliteSession:
        """See SharedSession: interpreters of its own, since one of them serves one thread at a time."""
        return TfliteSession(self._model, self._threads, self._xnnpack)

    def _new(self) -> Any:
        # XNNPACK is the one delegate that is there by default.
        kernels = OpResolverType.AUTO if self._xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return Interpreter(model_content=self._model, num_threads=self._threads, experimental_op_resolver_type=kernels)

    def _shaped(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        interpreter = self._new()
        for index, shape in zip(self._inputs.values(), shapes, strict=True):
            interpreter.resize_tensor_input(index, shape)
        interpreter.allocate_tensors()
        self._interpreters[shapes] = interpreter
        if len(self._interpreters) > _MAX_INTERPRETERS:
            self._interpreters.popitem(last=False)
        return interpreter


class TfliteRuntime:
    """See adapters.base.Runtime."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return _NAME

    def load(self, path: Path, options: Mapping[str, Any]) -> TfliteSession:
        """Load a .tflite file.

        Options: `threads` (default: the cores this process may use, shared out among `instances`), `xnnpack` (default:
        true; false runs the plain kernels).
        """
        # Read once: interpreters that are made later must be of these weights, whatever has become of the file.
        model = path.read_bytes()
        if not model:
            raise LoadFailed(f"{path.name} is empty")
        return TfliteSession(model, options.get("threads") or threads_each(options), options.get("xnnpack", True))


def _details(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Input and output details by the names of the model's signature, or of its tensors where it has none."""
    signatures = interpreter.get_signature_list()
    if signatures:
        runner = interpreter.get_signature_runner(_SIGNATURE if _SIGNATURE in signatures else next(iter(signatures)))
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        # A signature of another subgraph has tensor indices of its own, which set_tensor does not know.
        main = {detail["index"] for detail in interpreter.get_input_details()}
        if {detail["index"] for detail in inputs.values()} == main:
            return inputs, outputs
    return (
        {detail["name"]: detail for detail in interpreter.get_input_details()},
        {detail["name"]: detail for detail in interpreter.get_output_details()},
    )


def _spec(name: str, detail: Mapping[str, Any]) -> TensorSpec:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind in "SU":
        dtype = np.dtype(np.object_)
    sizes = detail.get("shape_signature")
    if sizes is None or len(sizes) == 0:
        sizes = detail["shape"]
    try:
        datatype = DataType.of(dtype)
    except Exception as error:
        raise LoadFailed(f"tensor '{name}' is of type {dtype}, which no protocol can carry") from error
    return TensorSpec(name, datatype, tuple(None if size < 0 else int(size) for size in sizes))


def _array(output: Any) -> Tensor:
    array = np.asarray(output)
    return array.astype(np.object_) if array.dtype.kind == "S" else array
