"""Run by conftest.py: first Torii's messages, then an honest `import tensorflow`, then both on the same tensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from adapters.tensors import DataType
from adapters.tfserving.protos import tensor_pb2
from adapters.tfserving.tensor_proto import decode, encode, number_of

placeholder_left = "tensorflow" in sys.modules

import tensorflow as tf  # noqa: E402

compared = 0
generator = np.random.default_rng(7)
for datatype in DataType:
    for shape in ((), (3, 2), (2, 0)):
        if datatype is DataType.BYTES:
            tensor = np.full(shape, b"a\0b", np.object_)
        else:
            tensor = np.asarray(generator.integers(0, 2, shape)).astype(datatype.dtype)
        ours = tensor_pb2.TensorProto()
        encode(tensor, ours)
        theirs = tf.make_tensor_proto(tensor, dtype=number_of(datatype), shape=shape)
        for got in (tf.make_ndarray(ours), decode(theirs)):
            assert got.dtype == tensor.dtype, (datatype, got.dtype)
            assert got.shape == tensor.shape, (datatype, got.shape)
            assert got.tolist() == tensor.tolist(), datatype
        compared += 1


class Words(tf.Module):
    """Has what a plain graph has not: a function, a variable, and a table that is filled from an asset."""

    def __init__(self, vocabulary: Path) -> None:
        self.scale = tf.Variable(2.0)
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        initializer = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, line, tf.int64, number)
        self.table = tf.lookup.StaticHashTable(initializer, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words"), tf.TensorSpec([], tf.float32, "x")])
    def __call__(self, words: Any, x: Any) -> dict[str, Any]:
        return {"ids": self.table.lookup(words), "upper": tf.strings.upper(words), "scaled": x * self.scale}


path = Path(sys.argv[1])
vocabulary = path.parent.parent / "vocabulary.txt"
vocabulary.write_text("zero\none\ntwo\n")
words = Words(vocabulary)
tf.saved_model.save(words, str(path), signatures=words.__call__)
said = {"placeholder_left": placeholder_left, "compared": compared, "computed": float(tf.constant(1.0) + 2)}
sys.stdout.write(json.dumps(said))
