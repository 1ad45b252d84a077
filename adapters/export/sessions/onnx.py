"""ONNX and ORT files, by Torii's own runtime."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from adapters.export.sessions.session import Array, Measurable, Names, counted
from adapters.export.sessions.torii import ToriiSession
from adapters.onnx_runtime import OnnxRuntime

_KERNEL = "_kernel_time"


def describe() -> str:
    """Name and version of the runtime."""
    return OnnxRuntime().describe()


def load(path: Path, names: Names) -> Measurable:
    """Load a file; raises whatever ONNX Runtime does."""
    return _Session(OnnxRuntime().load(path, {"intra_op_threads": 1}), path)


class _Session(ToriiSession):
    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        # The profile says what really runs, fused as it is, and there is nothing else to ask an .ort file by.
        with tempfile.TemporaryDirectory() as folder:
            settings = ort.SessionOptions()
            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(folder) / "profile")
            settings.log_severity_level = 3
            settings.intra_op_num_threads = 1
            session = ort.InferenceSession(str(self.path), settings, providers=["CPUExecutionProvider"])
            session.run(None, dict(inputs))
            events = json.loads(Path(session.end_profiling()).read_text())
        nodes = {
            each["name"]: each["args"]["op_name"]
            for each in events
            if each.get("cat") == "Node" and each["name"].endswith(_KERNEL)
        }
        return counted(list(nodes.values()))
