"""TensorFlow.js models, by TensorFlow.js itself in Node, on its plain JavaScript backend."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from adapters.export.sessions.session import Array, Measurable, Names, Tensor, counted

_PROGRAM = Path(__file__).with_name("tfjs.cjs")
_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1"}
_DATATYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL"}


def describe() -> str:
    """Name and version of the runtime."""
    packages = Path(os.environ["TORII_NODE_MODULES"]) / "@tensorflow" / "tfjs-core" / "package.json"
    return f"TensorFlow.js {json.loads(packages.read_text())['version']} (cpu)"


def load(path: Path, names: Names) -> Measurable:
    """Load the folder with model.json; raises OSError where Node is not there, and RuntimeError with what it says."""
    return _Session(path)


class _Session:
    def __init__(self, path: Path) -> None:
        self._path = path
        command = ["node", str(_PROGRAM), os.environ["TORII_NODE_MODULES"], str(path)]
        self._node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._to: IO[bytes] = self._node.stdin
        self._from: IO[bytes] = self._node.stdout
        told = self._answer()
        self.inputs = [_told(each) for each in told["inputs"]]
        self.outputs = [_told(each) for each in told["outputs"]]
        self.last_ns = 0

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run it; `last_ns` is then what it took in Node, without the way there."""
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        header = [{"name": n, "dtype": _dtype(a), "shape": a.shape, "bytes": a.nbytes} for n, a in arrays.items()]
        self._to.write(json.dumps(header).encode() + b"\n" + b"".join(array.tobytes() for array in arrays.values()))
        self._to.flush()
        told = self._answer()
        self.last_ns = told["ns"]
        return {each["name"]: self._array(each) for each in told["outputs"]}

    def operators(self, inputs: Mapping[str, Array]) -> Mapping[str, int]:
        topology = json.loads((self._path / "model.json").read_text())["modelTopology"]
        plumbing = ("Const", "Placeholder", "Identity", "NoOp")
        return counted([each["op"] for each in topology["node"] if each["op"] not in plumbing])

    def _answer(self) -> dict[str, Any]:
        line = self._from.readline()
        if not line:
            raise RuntimeError(f"node ended with code {self._node.wait()}")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise RuntimeError(told["error"])
        return told

    def _array(self, told: Mapping[str, Any]) -> Array:
        dtype = np.dtype(_DTYPES[told["dtype"]])
        data = self._from.read(math.prod(told["shape"]) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(told["shape"])


def _dtype(array: Array) -> str:
    return {"f": "float32", "b": "bool"}.get(array.dtype.kind, "int32")


def _told(each: Mapping[str, Any]) -> Tensor:
    shape = each["shape"]
    sizes = None if shape is None else tuple(None if size < 0 else int(size) for size in shape)
    return Tensor(each["name"], _DATATYPES.get(each["dtype"]), sizes)
