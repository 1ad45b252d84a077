"""Keras files, by Keras on TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted, named_outputs

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

_DATATYPES = {"float32": "FP32", "float16": "FP16", "float64": "FP64", "bool": "BOOL", "string": "BYTES"}


def describe() -> str:
    """Name and version of the runtime."""
    return f"Keras {keras.__version__} on TensorFlow {tf.__version__}"


def load(path: Path, names: Names) -> Measurable:
    """Load a file, without any code that it may bring; raises whatever Keras does."""
    return _Session(keras.saving.load_model(path, compile=False, safe_mode=True), names)


class _Session:
    def __init__(self, model: Any, names: Names) -> None:
        self._model = model
        self._call = tf.function(lambda *flat: model(keras.tree.pack_sequence_as(model.input, flat), training=False))
        self.inputs = [_told(each, each.name) for each in model.inputs]
        # Outputs in a dict have names, those in a list only the names of their layers.
        own = list(model.output) if isinstance(model.output, Mapping) else model.output_names
        called = own if len(model.outputs) > 1 or len(names.outputs) != 1 else names.outputs
        self.outputs = [_told(each, name) for each, name in zip(model.outputs, called, strict=True)]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        outputs = self._call(*(tf.constant(inputs[each.name]) for each in self.inputs))
        named = outputs if isinstance(outputs, Mapping) else keras.tree.flatten(outputs)
        names = [each.name for each in self.outputs]
        return {name: output.numpy() for name, output in named_outputs(named, names).items()}

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        return counted([type(layer).__name__ for layer in self._model._flatten_layers(include_self=False)])  # noqa: SLF001


def _told(tensor: Any, name: str) -> Tensor:
    datatype = _DATATYPES.get(tensor.dtype, tensor.dtype.upper())
    return Tensor(name, datatype, tuple(tensor.shape))
