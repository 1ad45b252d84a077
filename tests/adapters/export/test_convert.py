from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.errors import InvalidInput
from adapters.export import convert as converting
from adapters.export.certifying import Timing
from adapters.export.convert import Exported, ExportRequest, ToleranceNotMet, convert
from adapters.export.digests import artifact_digest
from adapters.export.formats import form_named
from adapters.export.stepping import Unconvertible
from adapters.onnx_runtime import OnnxRuntime
from adapters.tflite import TfliteRuntime
from tests.adapters.export.npz import save
from tests.adapters.onnx_models import node, tensor
from tests.adapters.onnx_models import save as save_onnx
from tests.conftest import ROOT

DIGITS = ROOT / "model_repo" / "digits"
QUICK = Timing(runs=6, rounds=2, seconds=0.02, warm_up_runs=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version with a tiny model: probabilities [rows, 4] of x [rows, 4]."""
    version = tmp_path / "1"
    version.mkdir()
    weights = {"w": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)}
    nodes = [node("MatMul", "x w", "h"), node("Softmax", "h", "y")]
    save_onnx(version / "model.onnx", nodes, [tensor("x", ["rows", 4])], [tensor("y", ["rows", 4])], weights)
    return version


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    data = np.random.default_rng(1).standard_normal((64, 4)).astype(np.float32)
    return save(tmp_path / "rows.npz", inputs_x=data, labels=np.zeros(64, np.int64))


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where a conversion, or the measuring of a model, begins."""

    def begun(*arguments: Any, **named: Any) -> None:
        pytest.fail("something ran")

    for name in ("run_step", "measured", "certify"):
        monkeypatch.setattr(converting, name, begun)


async def export(folder: Path, to: str, quantize: str | None = None, **changed: Any) -> Exported:
    staging = folder.parent / "staging"
    request = ExportRequest(folder, form_named(to, quantize), staging, timing=QUICK, **changed)
    return await convert(request, lambda fraction, text: None)


async def test_an_export_has_its_file_its_certificate_and_its_route(folder: Path) -> None:
    before = artifact_digest(folder / "model.onnx")
    exported = await export(folder, "ort", subject="tiny/1")
    staging = folder.parent / "staging"
    assert exported.path == staging / "model.ort"
    assert exported.route == ("onnx → ort",)
    certificate = exported.certificate
    assert certificate.passed
    assert certificate.subject == "tiny/1"
    assert certificate.source.sha256 == before == artifact_digest(folder / "model.onnx")
    assert certificate.export.sha256 == artifact_digest(exported.path)
    assert "onnxruntime" in certificate.tools
    assert [path.name for path in staging.iterdir()] == ["model.ort"]


async def test_int8_keeps_names_floats_and_the_free_batch(folder: Path, rows: Path) -> None:
    exported = await export(folder, "onnx", "int8", calibration=rows)
    assert exported.path.name == "model.int8.onnx"
    assert exported.certificate.accuracy is not None
    assert OnnxRuntime().load(exported.path, {}).signature == OnnxRuntime().load(folder / "model.onnx", {}).signature


async def test_torchscript_becomes_onnx_with_the_golden_names_and_a_free_batch(tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    (version / "model.pt").write_bytes((DIGITS / "1" / "model.pt").read_bytes())
    exported = await export(version, "onnx", golden=DIGITS / "1" / "golden.npz")
    signature = OnnxRuntime().load(exported.path, {}).signature
    assert [(each.name, each.shape) for each in signature.inputs] == [("image", (None, 8, 8))]
    assert [(each.name, each.shape) for each in signature.outputs] == [("probabilities", (None, 10))]
    assert str(Path.home()).encode() not in exported.path.read_bytes()


async def test_a_saved_model_becomes_tflite_with_its_names_and_a_free_batch() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as staging:
        want = form_named("tflite", "int8")
        request = ExportRequest(DIGITS / "1", want, Path(staging), golden=DIGITS / "1" / "golden.npz", timing=QUICK)
        exported = await convert(request, lambda fraction, text: None)
        signature = TfliteRuntime().load(exported.path, {}).signature
    assert [(each.name, each.datatype, each.shape) for each in signature.inputs] == [("image", "FP32", (None, 8, 8))]
    assert [(each.name, each.datatype) for each in signature.outputs] == [("probabilities", "FP32")]
    assert exported.route == ("saved_model → tflite-int8",)


async def test_what_strays_too_far_is_not_given(folder: Path, rows: Path) -> None:
    with pytest.raises(ToleranceNotMet, match=r"not the same model within tolerance: .*\(largest\)") as refused:
        await export(folder, "onnx", "int8", calibration=rows, tolerance={"largest": 1e-9})
    assert not refused.value.certificate.passed
    assert not list((folder.parent / "staging").iterdir())


@pytest.mark.usefixtures("nothing_runs")
class TestRefusedBeforeAnythingRuns:
    """What can be known without running anything."""

    async def test_int8_without_rows(self, folder: Path) -> None:
        with pytest.raises(InvalidInput, match="int8 needs rows to find scales by: --calibration"):
            await export(folder, "onnx", "int8")

    async def test_calibration_of_another_shape_than_the_golden_rows(self, folder: Path, tmp_path: Path) -> None:
        golden = save(folder / "golden.npz", inputs_x=np.ones((2, 4), "f4"), outputs_y=np.ones((2, 4), "f4"))
        wrong = save(tmp_path / "wrong.npz", inputs_x=np.ones((2, 5), "f4"))
        with pytest.raises(InvalidInput, match=r"wrong\.npz: input 'x': expected shape \[-1, 4\], got \[2, 5\]"):
            await export(folder, "onnx", "int8", golden=golden, calibration=wrong)

    async def test_empty_calibration(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="is empty"):
            await export(folder, "onnx", "int8", calibration=save(tmp_path / "e.npz", inputs_x=np.ones((0, 4), "f4")))

    async def test_what_no_route_leads_to(self, folder: Path) -> None:
        with pytest.raises(InvalidInput, match=r"no way to pte from what the version has \(onnx\)"):
            await export(folder, "pte")

    async def test_a_folder_that_is_gone(self, folder: Path) -> None:
        with pytest.raises(InvalidInput, match="9 cannot be read: No such file"):
            await export(folder.parent / "9", "onnx")


async def test_calibration_that_does_not_fit_the_model_is_refused_before_a_conversion(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "run_step", lambda *arguments: pytest.fail("a conversion began"))
    wrong = save(tmp_path / "wrong.npz", inputs_x=np.ones((2, 5), "f4"))
    with pytest.raises(InvalidInput, match=r"wrong\.npz: input 'x': expected shape \[-1, 4\]"):
        await export(folder, "onnx", "int8", calibration=wrong)


async def test_a_damaged_source_is_the_caller_s_fault(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:100])
    with pytest.raises(Unconvertible, match="cannot be loaded"):
        await export(folder, "ort")


async def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    version = tmp_path / "1"
    version.mkdir()
    torch.save(Runs(), version / "model.pt")
    with pytest.raises(Unconvertible):
        await export(version, "onnx", golden=DIGITS / "1" / "golden.npz")
    assert not (tmp_path / "ran").exists()


async def test_without_shapes_the_flag_is_named(tmp_path: Path) -> None:
    version = tmp_path / "1"
    version.mkdir()
    torch.jit.save(torch.jit.script(torch.nn.Linear(4, 2)), version / "model.pt")
    with pytest.raises(Unconvertible, match=r"what shape input 'input' has: .*--shape input=1,8,8,1"):
        await export(version, "onnx")


async def test_a_shape_of_an_input_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="--shape xx: expected one of the inputs x"):
        await export(folder, "onnx", "dynamic", shapes={"xx": (1, 4)})


async def test_an_operator_that_the_target_lacks_is_named_with_its_layer(tmp_path: Path) -> None:
    class Airy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.airy_ai(x)

    model = torch.nn.Sequential()
    model.add_module("head", Airy())
    version = tmp_path / "1"
    version.mkdir()
    torch.jit.save(torch.jit.script(model), version / "model.pt")
    with pytest.raises(Unconvertible, match=r"ONNX has no such operator: aten::special_airy_ai \(layer 'head'\)"):
        await export(version, "onnx", shapes={"input": (1, 4)})


async def test_the_next_route_is_taken_where_one_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, taken, said = tmp_path / "1", list[str](), list[str]()
    version.mkdir()
    (version / "model.pt").write_bytes(b"x")

    async def refuses(step: Any, *arguments: Any) -> None:
        taken.append(step.name)
        raise Unconvertible(f"{step}: no {step.name}")

    monkeypatch.setattr(converting, "run_step", refuses)
    golden = DIGITS / "1" / "golden.npz"
    request = ExportRequest(version, form_named("onnx"), tmp_path / "staging", golden=golden)
    with pytest.raises(Unconvertible, match=r"\(1\) torchscript → onnx: no .*; \(2\) torchscript → pt2: no "):
        await convert(request, lambda fraction, text: said.append(text))
    assert taken == ["torchscript_to_onnx", "torchscript_to_exported"]
    assert said[0] == "route: torchscript → onnx"
    assert "route: torchscript → pt2 → onnx" in said
