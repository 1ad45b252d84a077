"""ONNX Runtime, inside a worker."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from adapters.cores import threads_each
from adapters.errors import InvalidInput, LoadFailed
from adapters.tensors import DataType, Signature, Tensor, Tensors, TensorSpec

_DATATYPES = {
    "bool": DataType.BOOL,
    "uint8": DataType.UINT8,
    "uint16": DataType.UINT16,
    "uint32": DataType.UINT32,
    "uint64": DataType.UINT64,
    "int8": DataType.INT8,
    "int16": DataType.INT16,
    "int32": DataType.INT32,
    "int64": DataType.INT64,
    "float16": DataType.FP16,
    "float": DataType.FP32,
    "double": DataType.FP64,
    "bfloat16": DataType.BF16,
    "string": DataType.BYTES,
}
_BFLOAT16 = DataType.BF16.dtype
_BFLOAT16_OF_ONNX = 16
_TENSOR = re.compile(r"tensor\((\w+)\)")

_CPU = "CPUExecutionProvider"
_OF_NVIDIA = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}
_THREADS = {"OpenVINOExecutionProvider": "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
"""Providers with threads of their own, and what each calls their number."""


class OnnxSession:
    """A loaded ONNX model. ONNX Runtime lets several threads run one session."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        inputs = [_spec(node) for node in session.get_inputs()]
        outputs = [_spec(node) for node in session.get_outputs() if _TENSOR.fullmatch(node.type)]
        if not outputs:
            types = ", ".join(f"'{node.name}' {node.type}" for node in session.get_outputs())
            raise LoadFailed(f"no output of the model is a tensor ({types}); export it so that one is")
        self.signature = Signature(tuple(inputs), tuple(outputs))
        self._outputs = [spec.name for spec in outputs]
        self._texts = {spec.name for spec in inputs if spec.datatype is DataType.BYTES}
        self._bf16 = any(spec.datatype is DataType.BF16 for spec in (*inputs, *outputs))

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """See Session.run."""
        if self._texts:
            inputs = {name: _texts(name, tensor) if name in self._texts else tensor for name, tensor in inputs.items()}
        if self._bf16:
            return self._run_values(inputs)
        outputs = self._session.run(self._outputs, inputs)
        return {name: _array(output) for name, output in zip(self._outputs, outputs, strict=True)}

    def share(self) -> OnnxSession:
        """See SharedSession."""
        return self

    def _run_values(self, inputs: Tensors) -> dict[str, Tensor]:
        feed = {name: _value(np.asarray(tensor, order="C")) for name, tensor in inputs.items()}
        outputs = self._session.run_with_ort_values(self._outputs, feed)
        return {name: _from_value(value) for name, value in zip(self._outputs, outputs, strict=True)}


class OnnxRuntime:
    """See adapters.base.Runtime."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return f"onnxruntime {ort.__version__}"

    def load(self, path: Path, options: Mapping[str, Any]) -> OnnxSession:
        """Load a .onnx file.

        Options: `intra_op_threads` (default: the cores this process may use, shared out among `instances`),
        `execution_providers` (default: CPU). Every provider that is named has to start; without CPU among them, they
        have to take the whole model.
        """
        threads = options.get("intra_op_threads") or threads_each(options)
        providers = options.get("execution_providers") or [_CPU]
        _check_offered(providers)
        if not _OF_NVIDIA.isdisjoint(providers):
            _load_libraries_of_nvidia()
        own = [{_THREADS[name]: str(threads)} if name in _THREADS else {} for name in providers]
        session = _session(path, _settings(threads), list(providers), own)
        _check_started(providers, session.get_providers())
        return OnnxSession(session)


def _session(
    path: Path, settings: ort.SessionOptions, providers: list[str], options: list[dict[str, str]]
) -> ort.InferenceSession:
    if _CPU not in providers:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return ort.InferenceSession(
            str(path), settings, providers=providers, provider_options=options, enable_fallback=0
        )
    except Exception as error:
        if _CPU in providers or "fallback to CPU EP" not in str(error):
            raise
        raise LoadFailed(
            f"execution_providers: without {_CPU} the whole model has to run on {', '.join(providers)}, and a part of "
            f"it does not: its operators are not there, or the provider did not start; add {_CPU} as the last"
        ) from error


def _settings(threads: int) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # Threads that spin while they wait would take the cores from the other deployments.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def _check_offered(providers: Sequence[str]) -> None:
    offered = ort.get_available_providers()
    if unknown := sorted(set(providers) - set(offered)):
        raise LoadFailed(
            f"execution_providers: {', '.join(unknown)} not in this onnxruntime, which has {', '.join(offered)}"
        )


def _load_libraries_of_nvidia() -> None:
    # They may come as Python packages, where the loader of libraries does not look by itself.
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorrt_libs")  # which loads what it has


def _check_started(providers: Sequence[str], started: Sequence[str]) -> None:
    """ONNX Runtime says nothing where a provider does not start, and runs the model on the next one."""
    if idle := [name for name in providers if name not in started]:
        raise LoadFailed(
            f"execution_providers: {', '.join(idle)} did not start here, and the model would run on "
            f"{', '.join(started)} without a word: its device, driver or libraries are missing (the log at level debug "
            "has what ONNX Runtime says); mend that, or leave it out"
        )


def _spec(node: ort.NodeArg) -> TensorSpec:
    match = _TENSOR.fullmatch(node.type)
    datatype = _DATATYPES.get(match[1]) if match else None
    if datatype is None:
        raise LoadFailed(f"'{node.name}' is of type {node.type}, which no protocol can carry")
    # A free axis has a name or nothing where its size would be; a model that states no shape at all shows as [].
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return TensorSpec(node.name, datatype, shape or None)


def _value(tensor: Tensor) -> ort.OrtValue:
    # numpy has no bfloat16 of its own, so such tensors cross as values of a stated element type.
    if tensor.dtype == _BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(tensor.view(np.uint16), _BFLOAT16_OF_ONNX)
    return ort.OrtValue.ortvalue_from_numpy(tensor)


def _from_value(value: ort.OrtValue) -> Tensor:
    if value.data_type() != "tensor(bfloat16)":
        return _array(value.numpy())
    shape = value.shape()
    size_bytes = int(np.prod(shape, dtype=int)) * _BFLOAT16.itemsize
    data = ctypes.string_at(value.data_ptr(), size_bytes) if size_bytes else b""
    return np.frombuffer(data, _BFLOAT16).reshape(shape)


def _texts(name: str, tensor: Tensor) -> Tensor:
    texts = np.empty(tensor.shape, np.object_)
    try:
        texts.ravel()[:] = [element.decode() for element in tensor.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input '{name}': BYTES for a string input must be UTF-8: {error}") from error
    return texts


def _array(output: Any) -> Tensor:
    array = np.asarray(output)
    if array.dtype.kind in "OU":
        encoded = np.empty(array.shape, np.object_)
        encoded.ravel()[:] = [text if isinstance(text, bytes) else str(text).encode() for text in array.ravel()]
        return encoded
    return array
