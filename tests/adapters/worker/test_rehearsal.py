"""Batching is for models that were seen to give each row its own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from adapters.base import Batching
from adapters.batch_axis import ADAPTIVE_MAX_ROWS, DEFAULT_MAX_ROWS
from adapters.onnx_runtime import OnnxRuntime
from adapters.tensors import Tensor
from adapters.worker.rehearsal import rehearse
from tests.adapters.onnx_models import node, save, tensor

FREE = ["rows", 3]
TWO, FIRST, SECOND, ALL = slice(0, 2), slice(0, 1), slice(1, 2), slice(None)


class Spy:
    """A session that remembers what it was given."""

    def __init__(self, path: Path) -> None:
        self._session = OnnxRuntime().load(path, {"intra_op_threads": 1})
        self.signature = self._session.signature
        self.seen: list[dict[str, Tensor]] = []

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        self.seen.append(inputs)
        return self._session.run(inputs)


def model(folder: Path, nodes: list[NodeProto], inputs: Any = FREE, outputs: Any = FREE, **constants: Any) -> Spy:
    path = folder / "model.onnx"
    return Spy(save(path, nodes, [tensor("x", inputs)], [tensor("y", outputs)], constants))


ROW_BY_ROW: dict[str, dict[str, Any]] = {
    "a sum with a constant": {"nodes": [node("Add", "x k", "y")], "k": np.ones(3, np.float32)},
    "softmax over the classes": {"nodes": [node("Softmax", "x", "y", axis=1)]},
    "a linear layer": {
        "nodes": [node("MatMul", "x k", "y")],
        "outputs": ["rows", 2],
        "k": np.linspace(-1e3, 1e3, 6, dtype=np.float32).reshape(3, 2),
    },
    "a linear layer in half precision": {
        "nodes": [node("Cast", "x", "h", to=10), node("MatMul", "h k", "o"), node("Cast", "o", "y", to=1)],
        "k": np.eye(3, dtype=np.float16) + np.float16(0.1),
    },
    "answers of a billionth": {"nodes": [node("Mul", "x k", "y")], "k": np.float32(1e-9)},
    "the place of each row's largest": {"nodes": [node("ArgMax", "x", "i", axis=1), node("Cast", "i", "y", to=1)],
                                            "outputs": ["rows", 1]},
}  # fmt: skip


@pytest.mark.parametrize("case", ROW_BY_ROW)
def test_a_model_that_works_row_by_row_is_batched(tmp_path: Path, case: str) -> None:
    assert rehearse(model(tmp_path, **ROW_BY_ROW[case]), None, Batching()) == DEFAULT_MAX_ROWS


AXIS_0 = np.int64(0)
ACROSS_ROWS: dict[str, dict[str, Any]] = {
    "softmax over axis 0": {"nodes": [node("Softmax", "x", "y", axis=0)]},
    "a running sum over axis 0": {"nodes": [node("CumSum", "x axis", "y")], "axis": AXIS_0},
    "a running sum of millionths": {
        "nodes": [node("Mul", "x k", "z"), node("CumSum", "z axis", "y")],
        "axis": AXIS_0,
        "k": np.float32(1e-6),
    },
    "a running sum over another row's end": {
        "nodes": [node("CumSum", "x axis", "y", reverse=1)],
        "axis": AXIS_0,
    },
    "the mean of all rows taken off": {
        "nodes": [node("ReduceMean", "x axes", "m", keepdims=1), node("Sub", "x m", "y")],
        "axes": np.array([0]),
    },
    "rows in reverse": {
        "nodes": [node("Slice", "x start end axes step", "y")],
        "start": np.array([-1]), "end": np.array([-(2**31)]), "axes": np.array([0]), "step": np.array([-1]),
    },
    "a sum of all rows": {
        "nodes": [node("ReduceSum", "x axes", "y", keepdims=1)],
        "axes": np.array([0]),
        "outputs": ["one", 3],
    },
    "each row twice": {"nodes": [node("Concat", "x x", "y", axis=0)]},
    "rows and columns exchanged": {"nodes": [node("Transpose", "x", "y", perm=[1, 0])], "outputs": ["a", "b"]},
    "noise": {"nodes": [node("RandomUniformLike", "x", "y")]},
    "a fixed first axis": {"nodes": [node("Identity", "x", "y")], "inputs": [4, 3], "outputs": [4, 3]},
    "an output of one number": {"nodes": [node("ReduceSum", "x", "y", keepdims=0)], "outputs": []},
    "an input that must have 7 columns": {
        "nodes": [node("Add", "x k", "y")], "inputs": ["rows", "free"], "outputs": ["rows", "free"],
        "k": np.ones(7, np.float32),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ACROSS_ROWS)
def test_a_model_whose_rows_touch_each_other_or_may_do_so_is_not_batched(tmp_path: Path, case: str) -> None:
    assert rehearse(model(tmp_path, **ACROSS_ROWS[case]), None, Batching()) == 1


@pytest.mark.parametrize("case", ["softmax over axis 0", "a fixed first axis", "an input that must have 7 columns"])
@pytest.mark.parametrize("max_rows", [1, 16])
def test_the_owner_s_word_is_not_doubted(tmp_path: Path, case: str, max_rows: int) -> None:
    assert rehearse(model(tmp_path, **ACROSS_ROWS[case]), None, Batching(max_rows)) == max_rows


def test_a_model_is_warmed_up_before_it_serves(tmp_path: Path) -> None:
    session = model(tmp_path, [node("Identity", "x", "y")], ["rows", "free", 3], ["rows", "free", 3])
    rehearse(session, None, Batching(8))
    assert [inputs["x"].shape for inputs in session.seen] == [(4, 4, 3)]


def test_golden_rows_are_used_instead_of_invented_ones(tmp_path: Path) -> None:
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.savez(tmp_path / "golden.npz", **{"inputs/x": x, "outputs/y": x + 1})
    session = model(tmp_path, **ROW_BY_ROW["a sum with a constant"])
    assert rehearse(session, tmp_path / "golden.npz", Batching()) == DEFAULT_MAX_ROWS
    assert [inputs["x"].tolist() for inputs in session.seen] == [x[rows].tolist() for rows in (TWO, FIRST, SECOND, ALL)]


def test_golden_inputs_make_a_model_batch_that_no_invention_fits(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"inputs/x": np.arange(14, dtype=np.float32).reshape(2, 7)})
    session = model(tmp_path, **ACROSS_ROWS["an input that must have 7 columns"])
    assert rehearse(session, tmp_path / "golden.npz", Batching()) == DEFAULT_MAX_ROWS


def test_one_golden_row_is_too_few_to_allow_batching(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"inputs/x": np.ones((1, 3), np.float32)})
    assert rehearse(model(tmp_path, **ROW_BY_ROW["a sum with a constant"]), tmp_path / "golden.npz", Batching()) == 1


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_golden_file_that_cannot_be_used_hinders_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden.npz").write_bytes(content)
    session = model(tmp_path, **ROW_BY_ROW["a sum with a constant"])
    assert rehearse(session, tmp_path / "golden.npz", Batching()) == DEFAULT_MAX_ROWS


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT64, TensorProto.STRING,
                                  TensorProto.FLOAT16, TensorProto.DOUBLE])  # fmt: skip
def test_inputs_are_invented_for_every_datatype(tmp_path: Path, kind: int) -> None:
    path = save(tmp_path / "m.onnx", [node("Identity", "x", "y")], [tensor("x", FREE, kind)], [tensor("y", FREE, kind)])
    assert rehearse(OnnxRuntime().load(path, {}), None, Batching()) == DEFAULT_MAX_ROWS


def test_a_latency_target_allows_larger_batches_since_it_limits_them_by_itself(tmp_path: Path) -> None:
    session = model(tmp_path, **ROW_BY_ROW["a sum with a constant"])
    assert rehearse(session, None, Batching(latency_target_ms=50)) == ADAPTIVE_MAX_ROWS
    assert rehearse(session, None, Batching(64, latency_target_ms=50)) == 64
    other = model(tmp_path, **ACROSS_ROWS["softmax over axis 0"])
    assert rehearse(other, None, Batching(latency_target_ms=50)) == 1


def test_no_inputs_are_invented_that_would_fill_the_memory(tmp_path: Path) -> None:
    session = model(tmp_path, [node("Identity", "x", "y")], ["rows", 2**20, 2**20], ["rows", 2**20, 2**20])
    assert rehearse(session, None, Batching()) == 1
    assert session.seen == []
