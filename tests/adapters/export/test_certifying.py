from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto

from adapters.errors import InferenceFailed, InvalidInput
from adapters.export import trial
from adapters.export.certificate import Certificate
from adapters.export.certifying import Bounds, Circumstances, Subject, Timing, certify
from adapters.export.data import Data, DataKind, read_data
from adapters.export.formats import Form, Format
from adapters.export.tolerances import TOLERANCES
from tests.adapters.onnx_models import node, save, tensor
from tests.conftest import ROOT

QUICK = Timing(runs=6, rounds=2, seconds=0.02, warm_up_runs=1)
DIGITS = ROOT / "model_repo" / "digits"


def times(path: Path, factor: float, batch: int | str = "rows", name: str = "y") -> Path:
    """y = x · factor; x and y FP32 [rows, 4]."""
    nodes = [node("Mul", "x factor", name)]
    return save(path, nodes, [tensor("x", [batch, 4])], [tensor(name, [batch, 4])], {"factor": np.float32(factor)})


def onnx(path: Path, **changed: Any) -> Subject:
    return Subject(Form(Format.ONNX), path, **changed)


def rows(count: int = 40) -> Data:
    return Data("rows", DataKind.GOLDEN, {"x": np.random.default_rng(1).random((count, 4), np.float32)})


async def made(source: Subject, export: Subject, data: Data | None, **changed: Any) -> Certificate:
    settings = {"timing": QUICK, **changed}
    return await certify(source, export, data, TOLERANCES["fp32"], lambda fraction, text: None, **settings)


def measuring() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if "adapters.export.measure" in each.cmdline()]


async def test_the_same_model_passes_and_the_certificate_has_everything(tmp_path: Path) -> None:
    source, export = times(tmp_path / "a.onnx", 2.0), times(tmp_path / "b.onnx", 2.0, name="doubled")
    progress: list[float] = []
    found = await certify(
        onnx(source),
        onnx(export),
        rows(),
        TOLERANCES["fp32"],
        lambda fraction, text: progress.append(fraction),
        Circumstances("m/1", ("onnx → onnx",), {"converter": "7"}),
        timing=QUICK,
    )
    assert found.passed
    assert found.reasons == []
    assert (found.subject, found.route, found.tools["converter"]) == ("m/1", ["onnx → onnx"], "7")
    output = found.outputs[0]
    assert (output.source, output.export, output.shape, output.largest) == ("y", "doubled", [40, 4], 0.0)
    for side, path in ((found.source, source), (found.export, export)):
        assert side.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert side.size_bytes == path.stat().st_size
        assert side.operators == {"Mul": 1}
        assert side.runtime.startswith("onnxruntime ")
        assert side.load_ms > 0
        assert 0 < side.latency.p50_ms <= side.latency.p99_ms
        assert side.latency.rows == 1
        assert 1 <= side.latency.runs <= 6
    assert (found.data.rows, found.data.rows_of) == (40, 40)
    assert progress == sorted(progress)
    assert not measuring()


async def test_another_model_fails_with_the_difference(tmp_path: Path) -> None:
    source, export = times(tmp_path / "a.onnx", 2.0), times(tmp_path / "b.onnx", 2.5)
    found = await made(onnx(source), onnx(export), rows())
    assert not found.passed
    assert "(largest)" in found.reasons[0]
    assert found.outputs[0].largest == pytest.approx(0.5 * rows().inputs["x"].max())


@pytest.mark.parametrize("count", [2, 10])
async def test_a_fixed_batch_is_filled_up_and_both_sides_run_it(tmp_path: Path, count: int) -> None:
    source, export = times(tmp_path / "a.onnx", 2.0), times(tmp_path / "b.onnx", 2.0, batch=3)
    found = await made(onnx(source), onnx(export), rows(count))
    assert found.passed
    assert found.outputs[0].shape == [count, 4]
    assert (found.source.latency.rows, found.export.latency.rows) == (3, 3)


async def test_without_data_rows_are_invented_and_the_certificate_says_so(tmp_path: Path) -> None:
    path = times(tmp_path / "a.onnx", 2.0)
    found = await made(onnx(path), onnx(path), None)
    assert found.passed
    assert (found.data.kind, found.data.sha256, found.data.rows) == (DataKind.RANDOM, "", 16)


async def test_of_many_rows_a_sample_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_ROWS", 50)
    path = times(tmp_path / "a.onnx", 2.0)
    found = await made(onnx(path), onnx(path), rows(200))
    assert (found.data.rows, found.data.rows_of) == (50, 200)


async def test_fewer_rows_are_compared_where_outputs_would_be_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_MOST_OUTPUT_BYTES", 40 * 4 * 4)
    path = times(tmp_path / "a.onnx", 2.0)
    found = await made(onnx(path), onnx(path), rows(200))
    assert (found.data.rows, found.data.rows_of) == (40, 200)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"x": np.zeros((2, 5), np.float32)}, "rows, for onnx (a.onnx): input 'x': expected shape [-1, 4], got [2, 5]"),
        ({"x": np.zeros((2, 4), np.int64)}, "expected datatype FP32, got INT64"),
        ({"x": np.zeros((2, 4)), "z": np.zeros(2)}, "rows has the inputs x, z, onnx (a.onnx) x"),
    ],
)
async def test_rows_that_do_not_fit_the_source_are_refused(tmp_path: Path, inputs: dict[str, Any], says: str) -> None:
    path = times(tmp_path / "a.onnx", 2.0)
    with pytest.raises(InvalidInput) as caught:
        await made(onnx(path), onnx(path), Data("rows", DataKind.CALIBRATION, inputs))
    assert says in str(caught.value)
    assert not measuring()


async def test_a_file_that_is_no_model_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(b"rubbish")
    with pytest.raises(InferenceFailed, match=r"onnx \(b.onnx\): it cannot be loaded: .*Protobuf"):
        await made(onnx(times(tmp_path / "a.onnx", 2.0)), onnx(tmp_path / "b.onnx"), rows())


async def test_a_process_that_dies_and_one_that_takes_too_long_are_said_to_have(tmp_path: Path) -> None:
    path = times(tmp_path / "a.onnx", 2.0)
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    dies.chmod(0o755)
    with pytest.raises(InferenceFailed, match=r"its process ended while loading \(exit code 3.*no such luck"):
        await made(onnx(path, python=dies), onnx(path), rows())
    with pytest.raises(InferenceFailed, match=r"loading took longer than 0.001 s"):
        await made(onnx(path), onnx(path), rows(), bounds=Bounds(load_s=0.001))
    with pytest.raises(InvalidInput, match="its environment is not there"):
        await made(onnx(path, python=tmp_path / "nothing"), onnx(path), rows())
    assert not measuring()


async def test_a_model_that_wants_all_memory_is_stopped_and_this_process_is_not(tmp_path: Path) -> None:
    nodes = [node("Expand", "x shape", "y")]
    shapes = {"shape": np.array([1 << 20, 1 << 10], np.int64)}
    greedy = save(tmp_path / "a.onnx", nodes, [tensor("x", [1, 1])], [tensor("y", None, TensorProto.FLOAT)], shapes)
    one = Data("rows", DataKind.GOLDEN, {"x": np.zeros((1, 1), np.float32)})
    with pytest.raises(InferenceFailed, match="more than the 2048 MiB of memory"):
        await made(onnx(greedy), onnx(greedy), one, bounds=Bounds(memory_bytes=2 << 30))
    assert not measuring()


async def test_children_end_with_what_was_cancelled(tmp_path: Path) -> None:
    path = times(tmp_path / "a.onnx", 2.0)
    begun = asyncio.Event()

    def on_progress(fraction: float, text: str) -> None:
        if text == "timing":
            begun.set()

    settings: dict[str, Any] = {"timing": Timing(runs=10**9, rounds=10**6, seconds=600)}
    work = asyncio.create_task(certify(onnx(path), onnx(path), rows(), TOLERANCES["fp32"], on_progress, **settings))
    await begun.wait()
    assert len(measuring()) == 2
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not measuring()


@pytest.mark.parametrize(
    ("version", "source", "export"),
    [
        (1, Form(Format.SAVED_MODEL), Form(Format.TFLITE)),
        (2, Form(Format.TORCHSCRIPT), Form(Format.ONNX)),
    ],
    ids=str,
)
async def test_the_sample_models_artifacts_are_the_same_model(version: int, source: Form, export: Form) -> None:
    folder = DIGITS / str(version)
    data = read_data(folder / "golden.npz", DataKind.GOLDEN)
    found = await made(Subject(source, folder / source.file_name), Subject(export, folder / export.file_name), data)
    assert found.passed, found.reasons
    assert found.outputs[0].argmax == 1.0
    assert found.outputs[0].golden_export is not None
    assert found.outputs[0].golden_export < 1e-6
    assert sum(found.source.operators.values()) > 5
    assert sum(found.export.operators.values()) > 5


def test_a_folder_s_digest_is_of_its_files_and_their_names(tmp_path: Path) -> None:
    from adapters.export.digests import artifact_bytes, artifact_digest

    (tmp_path / "m" / "inner").mkdir(parents=True)
    (tmp_path / "m" / "inner" / "a").write_bytes(b"12")
    (tmp_path / "m" / "b").write_bytes(b"345")
    before = artifact_digest(tmp_path / "m")
    assert artifact_bytes(tmp_path / "m") == 5
    (tmp_path / "m" / "b").rename(tmp_path / "m" / "c")
    assert artifact_digest(tmp_path / "m") != before


def test_a_saved_model_among_other_artifacts_is_of_its_own_files(tmp_path: Path) -> None:
    from adapters.export.digests import artifact_digest

    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    before = artifact_digest(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"other")
    assert artifact_digest(tmp_path) == before
