from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from loadtests.bench import case, in_process, models
from loadtests.bench.processes import Place


@pytest.mark.parametrize(
    ("write", "shape", "outputs"),
    [(models.write_mlp, (64,), 10), (models.write_cnn, (1, 28, 28), 10), (models.write_resnet, (3, 224, 224), 1000)],
)
def test_a_batch_gives_what_its_rows_give_alone(
    write: Callable[[Path], None], shape: tuple[int, ...], outputs: int, tmp_path: Path
) -> None:
    path = tmp_path / "model" / "1" / "model.onnx"
    write(path)
    session = onnxruntime.InferenceSession(path)
    rows = np.random.default_rng(0).random((2, *shape), np.float32)

    (batch,) = session.run(["y"], {"x": rows})
    alone = [session.run(["y"], {"x": row[None]})[0] for row in rows]

    assert batch.shape == (2, outputs)
    np.testing.assert_allclose(batch, np.concatenate(alone), rtol=1e-3, atol=1e-3)
    assert np.ptp(batch) > 0.1  # an answer that says something
    assert np.abs(batch[0] - batch[1]).max() > 1e-3  # and about its row


def test_the_residual_network_has_the_layers_of_resnet_18(tmp_path: Path) -> None:
    path = tmp_path / "model" / "1" / "model.onnx"
    models.write_resnet(path)
    graph = onnx.load(path).graph

    operators = Counter(node.op_type for node in graph.node)
    assert (operators["Conv"], operators["Add"], operators["Gemm"]) == (1 + 16 + 3, 8, 1)
    assert sum(int(np.prod(each.dims)) for each in graph.initializer) == pytest.approx(11.7e6, rel=0.01)


def test_a_case_knows_what_onnxruntime_answers(tmp_path: Path) -> None:
    made = case.make(Place(tmp_path, min(os.sched_getaffinity(0))), "mlp", models.write_mlp, (1, 64))
    made.also("alone", "[batching]\nmax_rows = 1\n")

    (expected,) = onnxruntime.InferenceSession(made.model).run(["y"], {"x": made.x})
    np.testing.assert_allclose(made.expected, expected, rtol=1e-5)
    assert made.model.is_relative_to(made.repository / "mlp")
    assert "max_rows = 1" in (made.repository / "alone" / "model.toml").read_text()


def test_onnxruntime_alone_counts_rows_and_times_runs(tmp_path: Path) -> None:
    path = tmp_path / "mlp" / "1" / "model.onnx"
    models.write_mlp(path)
    found = in_process.run(path, min(os.sched_getaffinity(0)), np.ones((1, 64), np.float32), rows=8, seconds=0.1)

    assert found.figures.requests % 8 == 0
    assert found.figures.p50_ms <= found.figures.p99_ms
    assert np.shape(found.answer) == (1, 10)


def test_a_model_that_onnxruntime_cannot_run_ends_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"none")
    with pytest.raises(SystemExit, match=r"could not run model\.onnx"):
        in_process.run(path, min(os.sched_getaffinity(0)), np.ones((1, 64), np.float32))
