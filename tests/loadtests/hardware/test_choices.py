"""What a backend can be run on is offered where it is there, and named with the reason where it is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from loadtests.hardware import choices as module
from loadtests.hardware.choices import Setting, reasons, settings, started

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
OPENVINO, XNNPACK = "OpenVINOExecutionProvider", "XnnpackExecutionProvider"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU, without environments, whose onnxruntime has the CPU only."""
    monkeypatch.setattr(module, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(module, "no_nvidia_gpu", lambda: "no NVIDIA GPU was found")
    has(monkeypatch, {})
    return tmp_path


def has(monkeypatch: pytest.MonkeyPatch, usual: Mapping[str, str], **environments: Mapping[str, str]) -> None:
    """What providers start in the usual Python and in environments."""
    monkeypatch.setattr(
        module,
        "started",
        lambda python: usual if python == Path(sys.executable) else environments[python.parent.parent.name],
    )


def install(place: Path, name: str) -> Path:
    (place / name).mkdir()
    (place / name / ".installed").touch()
    return place / name / "bin/python"


def named(backend: str, cores: int = 2) -> dict[str, Setting]:
    found = settings(backend, cores)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_one_two_and_all_threads_are_tried(place: Path) -> None:
    of_eight = named("onnxruntime", 8)
    assert [of_eight[f"CPU, {n} thread{'s' * (n > 1)}"].options for n in (1, 2, 8)] == [
        {"intra_op_threads": n} for n in (1, 2, 8)
    ]
    assert not any(of_eight[f"CPU, {n} thread{'s' * (n > 1)}"].missing for n in (1, 2, 8))


@pytest.mark.parametrize("backend", ["onnxruntime", "tflite", "torchserve", "tfserving"])
def test_more_threads_than_cores_are_not_run(place: Path, backend: str) -> None:
    of_one = named(backend, 1)
    assert of_one["CPU, 1 thread"].missing == ""
    assert of_one["CPU, 2 threads"].missing


def test_without_hardware_every_provider_says_what_it_lacks(place: Path) -> None:
    found = named("onnxruntime")
    assert found["CUDA"].missing == found["TensorRT"].missing == "no NVIDIA GPU was found"
    assert found["OpenVINO"].missing == "its environment is not installed: make hardware-openvino"
    assert found["XNNPACK"].missing == f"the installed onnxruntime is built without {XNNPACK}"
    assert named("torchserve")["CUDA"].missing == "no NVIDIA GPU was found"


def test_an_environment_s_provider_is_run_by_its_python(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = install(place, "openvino")
    has(monkeypatch, {}, openvino={OPENVINO: ""})
    options = {"execution_providers": [OPENVINO, "CPUExecutionProvider"], "intra_op_threads": 2}
    assert named("onnxruntime")["OpenVINO"] == Setting("OpenVINO", "onnxruntime", options, python)


def test_a_half_made_environment_is_none(place: Path) -> None:
    install(place, "openvino")
    (place / "openvino/.installed").unlink()
    assert "make hardware-openvino" in named("onnxruntime")["OpenVINO"].missing


def test_a_provider_that_does_not_start_says_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(place, "openvino")
    has(monkeypatch, {}, openvino={OPENVINO: "no such device"})
    assert named("onnxruntime")["OpenVINO"].missing == f"{OPENVINO} does not start: no such device"
    has(monkeypatch, {}, openvino={})
    assert "its onnxruntime has no OpenVINO" in named("onnxruntime")["OpenVINO"].missing


def test_on_a_machine_with_a_gpu_the_rows_appear_by_themselves(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "no_nvidia_gpu", lambda: "")
    monkeypatch.setattr(module, "has_cuda", lambda python: python != Path(sys.executable))
    assert named("onnxruntime")["CUDA"].missing == "its environment is not installed: make hardware-cuda"
    assert named("torchserve")["CUDA"].missing == "its environment is not installed: make hardware-cuda"
    python = install(place, "cuda")
    has(monkeypatch, {}, cuda={CUDA: "", TENSORRT: "libnvinfer.so.10 is missing"})
    found = named("onnxruntime", 16)
    assert (found["CUDA"].missing, found["CUDA"].python) == ("", python)
    assert found["TensorRT"].missing == f"{TENSORRT} does not start: libnvinfer.so.10 is missing"
    assert found["TensorRT"].options["execution_providers"] == [TENSORRT, CUDA, "CPUExecutionProvider"]
    of_torch = named("torchserve")["CUDA"]
    assert (of_torch.missing, of_torch.python, of_torch.options) == ("", python, {"device": "cuda"})


def test_what_the_usual_onnxruntime_has_needs_no_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {XNNPACK: "", "CoreMLExecutionProvider": "", "QNNExecutionProvider": "no device"})
    found = named("onnxruntime")
    assert (found["XNNPACK"].missing, found["XNNPACK"].python) == ("", None)
    assert found["CoreML"].missing == ""
    assert found["QNN"].missing == "no device"


def test_tflite_is_run_with_and_without_xnnpack(place: Path) -> None:
    found = named("tflite-int8")
    assert found["CPU, 2 threads"].options == {"threads": 2, "xnnpack": True}
    assert found["CPU, 2 threads, XNNPACK off"].options == {"threads": 2, "xnnpack": False}
    assert {each.backend for each in found.values()} == {"tflite-int8"}


def test_torchserve_is_run_with_threads_and_with_workers(place: Path) -> None:
    found = named("torchserve", 4)
    assert found["CPU, 4 threads"].options == {"threads": 4, "device": "cpu"}
    assert found["CPU, 4 workers of 1 thread"].options == {"workers": 4, "threads": 1, "device": "cpu"}


def test_an_unknown_backend_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"expected one of onnxruntime, tflite, torchserve, tfserving.*got 'triton'"):
        settings("triton")


def test_this_python_s_providers_are_really_tried() -> None:
    found = started(Path(sys.executable))
    assert "CPUExecutionProvider" not in found
    assert all(isinstance(reason, str) for reason in found.values())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"": "No module named onnxruntime"}'])
def test_a_python_without_onnxruntime_offers_nothing(text: str) -> None:
    assert reasons(text) == {}


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has nvidia-smi")
def test_without_nvidia_smi_there_is_no_gpu() -> None:
    assert module.no_nvidia_gpu() == "no NVIDIA GPU was found (there is no nvidia-smi)"
