"""Models whose answers prove which request they answer, and what they must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from adapters.tensors import DataType
from adapters.tflite import TfliteRuntime

ROOT = Path(__file__).resolve().parents[2]
MAX_ROWS = 16
MORE_ROWS = 4
"""Requests have up to MAX_ROWS + MORE_ROWS rows: what is larger than a batch may be runs alone."""

Array: TypeAlias = np.ndarray[Any, Any]

_LARGEST = 1 << 20  # eight of them add up without rounding in FP32
_PLACES = 4099
_NO_PLACE = 1_000_000
_DISTINCT = 1e-3


@dataclass(frozen=True)
class TaggedModel:
    """A model of one input, batch axis first.

    `inputs(random, rows)` makes rows that no other request has; `answers` gives all outputs for them. `publish(nonce)`
    is the artifact, of other bytes for another nonce and of the same behaviour. A row of `bad` makes a run fail.
    """

    name: str
    file: str
    input: str
    datatype: DataType
    row: tuple[int, ...]
    inputs: Callable[[np.random.Generator, int], Array]
    answers: Callable[[Array], dict[str, Array]]
    publish: Callable[[int], bytes]
    bad: Array | None = None
    tolerance: float = 0.0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """What serves it."""
        return "tflite" if self.file.endswith("tflite") else "onnxruntime"

    def model_toml(self) -> str:
        """Its model.toml: the newest version alone, in batches of MAX_ROWS."""
        tables = {"batching": {"max_rows": MAX_ROWS}, **self.settings}
        lines = ['versions = "latest:1"']
        for table, keys in tables.items():
            lines += [f"[{table}]", *(f"{key} = {value}" for key, value in keys.items())]
        return "\n".join(lines)


def doubling() -> TaggedModel:
    """y = 2·x FP32 [rows, 8], and total, the sum of each row FP32 [rows]."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["y"]),
            helper.make_node("ReduceSum", ["x", "last"], ["total"], keepdims=0),
        ],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 8])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 8]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["rows"]),
        ],
        [numpy_helper.from_array(np.float32(2), "two"), numpy_helper.from_array(np.array([1]), "last")],
    )
    return TaggedModel(
        "doubling", "model.onnx", "x", DataType.FP32, (8,),
        inputs=lambda random, rows: random.integers(0, _LARGEST, (rows, 8)).astype(np.float32),
        answers=lambda x: {"y": x * 2, "total": x.sum(axis=1, dtype=np.float32)},
        publish=_variants(graph),
    )  # fmt: skip


def table() -> TaggedModel:
    """found = places[x[:, 0]] INT64 [rows], moved = x + 1 INT64 [rows, 4]; a place that is not there fails the run."""
    places = np.random.default_rng(7).permutation(_PLACES).astype(np.int64) * 1000
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "first"], ["place"], axis=1),
            helper.make_node("Gather", ["places", "place"], ["found"]),
            helper.make_node("Add", ["x", "one"], ["moved"]),
        ],
        "table",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["rows", 4])],
        [
            helper.make_tensor_value_info("found", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("moved", TensorProto.INT64, ["rows", 4]),
        ],
        [
            numpy_helper.from_array(places, "places"),
            numpy_helper.from_array(np.array(0), "first"),
            numpy_helper.from_array(np.array(1), "one"),
        ],
    )

    def inputs(random: np.random.Generator, rows: int) -> Array:
        x = random.integers(-(2**60), 2**60, (rows, 4))
        x[:, 0] = random.integers(0, _PLACES, rows)
        return x

    return TaggedModel(
        "table", "model.onnx", "x", DataType.INT64, (4,),
        inputs=inputs,
        answers=lambda x: {"found": places[x[:, 0]], "moved": x + 1},
        publish=_variants(graph),
        bad=np.array([_NO_PLACE, 0, 0, 0]),
    )  # fmt: skip


def digits() -> TaggedModel:
    """The sample model in TFLite: noise as FP32 [rows, 8, 8], its ten probabilities; takes little at a time."""
    content = (ROOT / "model_repo/digits/1/model.tflite").read_bytes()
    images, probabilities = _pictures()

    def answers(image: Array) -> dict[str, Array]:
        return {"probabilities": probabilities[image[:, 0, 0].astype(int)]}  # each says its place in its first pixel

    return TaggedModel(
        "digits", "model.tflite", "image", DataType.FP32, (8, 8),
        inputs=lambda random, rows: images[random.integers(0, len(images), rows)],
        answers=answers,
        publish=lambda nonce: content + b"%16d" % nonce,  # a flatbuffer is read from its beginning
        tolerance=1e-5,
        settings={"limits": {"max_in_flight": 16, "max_queue": 8}},
    )  # fmt: skip


@cache
def _pictures() -> tuple[Array, Array]:
    """Images and what the model makes of them, no two alike."""
    session = TfliteRuntime().load(ROOT / "model_repo/digits/1/model.tflite", {"threads": 1})
    images = (np.random.default_rng(5).random((1500, 8, 8)) * 16).astype(np.float32)
    images[:, 0, 0] = np.arange(len(images))
    probabilities = session.run({"image": images})["probabilities"]
    distances = np.abs(probabilities[:, None] - probabilities[None]).max(axis=-1)
    np.fill_diagonal(distances, 1)
    alone = distances.min(axis=1) > _DISTINCT
    kept = np.zeros_like(probabilities)
    kept[alone] = probabilities[alone]
    return images[alone], kept


def _variants(graph: Any) -> Callable[[int], bytes]:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    def variant(nonce: int) -> bytes:
        helper.set_model_props(model, {"nonce": str(nonce)})
        content: bytes = model.SerializeToString()
        return content

    return variant
