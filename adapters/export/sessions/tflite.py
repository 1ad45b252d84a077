"""TFLite files, by Torii's own runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.export.sessions.session import Array, Measurable, Names, counted
from adapters.export.sessions.torii import ToriiSession
from adapters.tflite import TfliteRuntime

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter

_DELEGATE = "DELEGATE"


def describe() -> str:
    """Name and version of the runtime."""
    return TfliteRuntime().describe()


def load(path: Path, names: Names) -> Measurable:
    """Load a file; raises whatever the interpreter does."""
    return _Session(TfliteRuntime().load(path, {"threads": 1}), path)


class _Session(ToriiSession):
    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        # As in the file: a delegate's own nodes stand for some of these, and are not counted beside them.
        details = Interpreter(model_path=str(self.path), num_threads=1)._get_ops_details()  # noqa: SLF001  # no other way
        return counted([each["op_name"] for each in details if each["op_name"] != _DELEGATE])
