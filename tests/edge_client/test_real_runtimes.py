"""The digits of the sample repository on this machine as a device: real weights, real runtimes, a child that checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.edge_client.repository import EdgeServer, golden_data, make_bundle
from torii_edge import EdgeModel, Limits, Outcome
from torii_edge.command import main
from torii_edge.runtimes import installed_runtimes
from torii_edge.self_check import check_in_child

DIGITS = Path(__file__).resolve().parents[2] / "model_repo/digits"
PATIENT = {"check": check_in_child, "limits": Limits(self_check_s=90)}


def _rows(version: int) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(DIGITS / str(version) / "golden.npz") as golden:
        inputs, outputs = (
            {name.removeprefix(side): golden[name] for name in golden.files if name.startswith(side)}
            for side in ("inputs/", "outputs/")
        )
    return inputs, outputs


def _bundle(version: int, runtime: str, **options: Any) -> bytes:
    suffix = {"onnxruntime": "onnx", "tflite": "tflite"}[runtime]
    weights = (DIGITS / str(version) / f"model.{suffix}").read_bytes()
    golden = golden_data(*_rows(version))
    return make_bundle(version, weights, golden=golden, runtime=runtime, model_file=f"model.{suffix}", **options)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tflite"])
def test_digits_are_installed_and_recognised(
    server: EdgeServer, device: Callable[..., EdgeModel], runtime: str
) -> None:
    loads = {name: load for name, load in installed_runtimes().items() if name == runtime}
    if not loads:
        pytest.skip(f"{runtime} is not installed")
    server.repository.publish(1, _bundle(1, runtime), runtime=runtime)
    server.offered = server.repository.offer(1)
    model = device(runtimes=loads, **PATIENT)
    update = model.update()
    assert (update.outcome, update.detail) == (Outcome.INSTALLED, "")
    assert {each["runtime"] for each in server.queries} == {runtime}
    inputs, outputs = _rows(1)
    for rows in (slice(0, 16), slice(3, 4)):
        answers = model.run({"image": inputs["image"][rows]})
        np.testing.assert_allclose(answers["probabilities"], outputs["probabilities"][rows], atol=1e-5)
    timed = next(each for each in server.reports if each["kind"] == "latency")
    assert len(timed["latency_ms"]) > 1
    with pytest.raises(ValueError, match=r"input 'image': expected shape \[-1, 8, 8\], got \[1, 28, 28\]"):
        model.run({"image": np.zeros((1, 28, 28), "f4")})
    with pytest.raises(ValueError, match="inputs: expected image, got x"):
        model.run({"x": inputs["image"]})
    with pytest.raises(ValueError, match="expected float32, got complex128"):
        model.run({"image": inputs["image"].astype(complex)})


@pytest.mark.parametrize("runtime", ["onnxruntime", "tflite"])
def test_weights_that_no_runtime_can_read_are_not_installed(
    server: EdgeServer, device: Callable[..., EdgeModel], runtime: str
) -> None:
    if runtime not in installed_runtimes():
        pytest.skip(f"{runtime} is not installed")
    golden = golden_data(*_rows(1))
    rubbish = make_bundle(1, b"rubbish" * 100, golden=golden, runtime=runtime, model_file="model.bin")
    server.repository.publish(1, rubbish)
    server.offered = server.repository.offer(1)
    model = device(runtimes=installed_runtimes(), **PATIENT)
    assert (model.update().outcome, model.version) == (Outcome.UNFIT, None)
    assert [each["passed"] for each in server.reports if each["kind"] == "self_check"] == [False]


def test_a_model_of_a_fixed_batch_runs_more_rows_in_parts(server: EdgeServer, device: Callable[..., EdgeModel]) -> None:
    if "onnxruntime" not in installed_runtimes():
        pytest.skip("onnxruntime is not installed")

    def fix(manifest: dict[str, Any]) -> None:
        for each in (*manifest["inputs"], *manifest["outputs"]):
            each["shape"][0] = 4

    server.repository.publish(1, _bundle(1, "onnxruntime", change=fix))
    server.offered = server.repository.offer(1)
    model = device(runtimes=installed_runtimes(), **PATIENT)
    assert model.update().outcome is Outcome.INSTALLED
    inputs, outputs = _rows(1)
    answers = model.run({"image": inputs["image"][:8]})
    np.testing.assert_allclose(answers["probabilities"], outputs["probabilities"][:8], atol=1e-5)
    with pytest.raises(ValueError, match="expected shape"):
        model.run({"image": inputs["image"][:6]})


def test_the_command_line_updates_runs_and_tells(
    server: EdgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "onnxruntime" not in installed_runtimes():
        pytest.skip("onnxruntime is not installed")

    def torii_edge(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    for version in (1, 2):
        server.repository.publish(version, _bundle(version, "onnxruntime"))
    server.offered = server.repository.offer(1)
    root, folder = tmp_path / "root.json", str(tmp_path / "kept")
    root.write_bytes(server.repository.trusted_root)
    update = ("update", folder, "--url", server.url, "--model", "digits", "--root", str(root))
    assert torii_edge("run", folder, "--input", "x.json")[0] != 0
    assert torii_edge(*update) == (0, "installed: version 1 is in use\n")
    server.offered = server.repository.offer(2)
    assert torii_edge(*update, "--app", "2.1.0", "--os", "android") == (0, "installed: version 2 is in use\n")
    assert server.queries[-1]["os"] == "android"
    inputs, outputs = _rows(2)
    np.savez(tmp_path / "x.npz", **inputs)
    status, text = torii_edge("run", folder, "--input", str(tmp_path / "x.npz"))
    assert status == 0
    np.testing.assert_allclose(json.loads(text)["probabilities"], outputs["probabilities"], atol=1e-4)
    assert torii_edge("rollback", folder) == (0, "version 1 is in use\n")
    assert json.loads(torii_edge("status", folder)[1])["version"] == 1
    status, text = torii_edge(*update)
    assert (status, text) == (1, f"unfit: version 1 is in use ({server.offered['target']} is not tried again now: "
                                 "it was rolled back by hand)\n")  # fmt: skip
    server.stop()
    assert torii_edge(*update)[0] == 3
    assert torii_edge("run", str(tmp_path / "empty"), "--input", str(tmp_path / "x.npz"))[0] == 1
