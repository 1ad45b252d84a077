"""Archives for TorchServe (.mar): zip files with a manifest, a handler and what the handler needs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from loadtests.bench.servers import PROGRAMS

_ANSWER = '''\
def handle(requests, context):
    """Answers a short JSON; TorchServe calls it once with None while it loads."""
    return None if requests is None else [{"answer": 42} for _ in requests]
'''
_BATCHING = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 32\nmaxBatchDelay: 1\n"
"""The delay is in milliseconds, and 1 is the shortest."""


def write_answer(path: Path, name: str) -> None:
    """An archive, version 1.0, whose handler answers `{"answer": 42}` to anything."""
    _write(path, {"modelName": name, "handler": "handler.py"}, {"handler.py": _ANSWER.encode()})


def write_torchscript(path: Path, name: str, onnx: Path) -> None:
    """An archive, version 1.0, of an ONNX model of dense layers as TorchScript, batched: up to 32 rows, 1 ms.

    Raises:
        SystemExit: it could not be translated.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    script = path.with_suffix(".pt")
    program = [sys.executable, "-m", "loadtests.bench.programs.torchscript", str(onnx), str(script)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{onnx.name} could not be made TorchScript:\n{ended.stderr[-2000:]}")
    handler = (PROGRAMS / "torchserve_handler.py").read_bytes()
    files = {"handler.py": handler, "model.pt": script.read_bytes(), "model-config.yaml": _BATCHING.encode()}
    _write(path, {"modelName": name, "handler": "handler.py", "configFile": "model-config.yaml"}, files)


def _write(path: Path, model: dict[str, str], files: dict[str, bytes]) -> None:
    manifest = {"runtime": "python", "model": {**model, "modelVersion": "1.0"}, "archiverVersion": "0.12.0"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        for name, content in files.items():
            archive.writestr(name, content)
