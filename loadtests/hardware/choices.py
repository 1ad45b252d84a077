"""What a backend can be run on here: one setting for each row of a table; what is not offered says why."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtests.hardware.commands import said
from loadtests.hardware.machine import usable_cores
from loadtests.hardware.programs import providers

ENVIRONMENTS: Final = Path(__file__).resolve().parents[2] / ".hardware"
"""Where `make hardware-NAME` puts environments."""

_PROGRAM: Final = Path(providers.__file__)
_PATIENCE_S: Final = 120.0
_CPU: Final = "CPUExecutionProvider"
_ENVIRONMENT_OF: Final = {
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "cuda",
    "OpenVINOExecutionProvider": "openvino",
    "XnnpackExecutionProvider": "",
}
"""Providers that always have a row, and the environment for those that the usual onnxruntime does not have."""

_BEHIND: Final = {"TensorrtExecutionProvider": ("CUDAExecutionProvider",)}
"""Who takes the operators that a provider does not, before the CPU does."""

_NAMES: Final = {"TensorrtExecutionProvider": "TensorRT", "XnnpackExecutionProvider": "XNNPACK"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the hardware; `options` are for [backend.BACKEND] of model.toml.

    `python` runs the gateway (None: the usual one). `missing` says why it cannot be run here; empty where it can.
    """

    name: str
    backend: str
    options: Mapping[str, Any] = field(default_factory=dict)
    python: Path | None = None
    missing: str = ""


def settings(backend: str, cores: int | None = None) -> list[Setting]:
    """What this machine offers a backend, or a variant of one, and what it does not; `cores` are the gateway's.

    Raises:
        ValueError: there is no such backend.
    """
    makers = {"onnxruntime": _onnxruntime, "tflite": _tflite, "torchserve": _torchserve, "tfserving": _tfserving}
    make = makers.get(backend.partition("-")[0])
    if make is None:
        raise ValueError(f"expected one of {', '.join(makers)}, or a variant of one, got {backend!r}")
    return list(make(backend, cores or usable_cores()))


def threads_to_try(cores: int) -> list[int]:
    """1, 2 and all."""
    return sorted({1, 2, cores})


def threads_named(threads: int) -> str:
    """`CPU, 2 threads`."""
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def _on_cpu(backend: str, key: str, cores: int, **others: Any) -> Iterator[Setting]:
    for threads in threads_to_try(cores):
        missing = "" if threads <= cores else f"{threads} threads need as many cores, and the gateway may use {cores}"
        yield Setting(threads_named(threads), backend, {key: threads, **others}, missing=missing)


def _onnxruntime(backend: str, cores: int) -> Iterator[Setting]:
    yield from _on_cpu(backend, "intra_op_threads", cores)
    usual = started(Path(sys.executable))
    for provider in [*_ENVIRONMENT_OF, *(name for name in usual if name not in _ENVIRONMENT_OF)]:
        python, missing = _place(provider, usual)
        order = [provider, *_BEHIND.get(provider, ()), _CPU]
        name = _NAMES.get(provider, provider.removesuffix("ExecutionProvider"))
        yield Setting(name, backend, {"execution_providers": order, "intra_op_threads": cores}, python, missing)


def _place(provider: str, usual: Mapping[str, str]) -> tuple[Path | None, str]:
    """Which Python has a provider that starts (None: the usual one), and why none has."""
    if usual.get(provider) == "":
        return None, ""
    environment = _ENVIRONMENT_OF.get(provider, "")
    if environment == "cuda" and (missing := no_nvidia_gpu()):
        return None, missing
    if not environment:
        return None, usual.get(provider) or f"the installed onnxruntime is built without {provider}"
    python, missing = environment_python(environment)
    if missing:
        return None, missing
    reason = started(python).get(provider, f"its onnxruntime has no {provider}")
    return (python, "") if reason == "" else (None, f"{provider} does not start: {reason}")


def _tflite(backend: str, cores: int) -> Iterator[Setting]:
    yield from _on_cpu(backend, "threads", cores, xnnpack=True)
    for threads in sorted({1, cores}):
        yield Setting(f"{threads_named(threads)}, XNNPACK off", backend, {"threads": threads, "xnnpack": False})


def _torchserve(backend: str, cores: int) -> Iterator[Setting]:
    yield from _on_cpu(backend, "threads", cores, device="cpu")
    if cores > 1:
        shared: dict[str, Any] = {"workers": cores, "threads": 1, "device": "cpu"}
        yield Setting(f"CPU, {cores} workers of 1 thread", backend, shared)
    python, missing = _cuda_of_torch()
    yield Setting("CUDA", backend, {"device": "cuda"}, python, missing)


def _cuda_of_torch() -> tuple[Path | None, str]:
    if missing := no_nvidia_gpu():
        return None, missing
    if not has_cuda(Path(sys.executable)):
        python, missing = environment_python("cuda")
        if missing:
            return None, missing
        return (python, "") if has_cuda(python) else (None, "torch of .hardware/cuda finds no GPU")
    return None, ""


def _tfserving(backend: str, cores: int) -> Iterator[Setting]:
    # One server serves all models, on all cores that it has: no key of model.toml says otherwise.
    for threads in threads_to_try(cores):
        missing = "" if threads == cores else f"TF Serving takes all of its cores, which are {cores} here"
        yield Setting(threads_named(threads), backend, missing=missing)


def environment_python(name: str) -> tuple[Path, str]:
    """The interpreter of an environment of .hardware, and why it cannot be used: empty where it can."""
    folder = ENVIRONMENTS / name
    ready = (folder / ".installed").exists()
    return folder / "bin/python", "" if ready else f"its environment is not installed: make hardware-{name}"


def no_nvidia_gpu() -> str:
    """Why nothing can run on CUDA here; empty where there is a GPU."""
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA GPU was found (there is no nvidia-smi)"
    return "" if said("nvidia-smi", "-L") else "no NVIDIA GPU was found (nvidia-smi lists none)"


@functools.cache
def started(python: Path) -> Mapping[str, str]:
    """A Python's execution providers beside CPU, with nothing where they start here, else the reason. Blocking."""
    return reasons(said(str(python), "-I", str(_PROGRAM), patience_s=_PATIENCE_S))


def reasons(text: str) -> Mapping[str, str]:
    """What the program printed; nothing where it broke down."""
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(reason) for name, reason in told.items() if name} if isinstance(told, dict) else {}


@functools.cache
def has_cuda(python: Path) -> bool:
    """Whether a Python's torch finds a GPU. Blocking, seconds: imports torch."""
    asked: Sequence[str] = ("-I", "-c", "import torch; print(torch.cuda.is_available())")
    return said(str(python), *asked, patience_s=_PATIENCE_S).endswith("True")
