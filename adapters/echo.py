"""A model that answers its inputs: for tests and for measuring everything but a model.

The artifact is a JSON file: {"inputs": [{"name": "x", "datatype": "FP32", "shape": [null, 4]}], "run_s": 0}.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import LoadFailed
from adapters.tensors import Signature, Tensor, Tensors, TensorSpec


class _Plan(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[TensorSpec]
    load_s: float = 0.0
    run_s: float = 0.0
    refuse: str | None = None
    die_loading: bool = False


class _EchoSession:
    def __init__(self, plan: _Plan) -> None:
        self.signature = Signature(tuple(plan.inputs), tuple(plan.inputs))
        self._run_s = plan.run_s

    def share(self) -> _EchoSession:
        return self

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        if self._run_s:
            time.sleep(self._run_s)
        return dict(inputs)


class EchoRuntime:
    """A Runtime whose every answer is its input."""

    def describe(self) -> str:
        """See Runtime.describe."""
        return "echo 1"

    def load(self, path: Path, options: Mapping[str, Any]) -> _EchoSession:
        """See Runtime.load."""
        try:
            plan = msgspec.json.decode(path.read_bytes(), type=_Plan)
        except msgspec.MsgspecError as error:
            raise LoadFailed(f"{path.name}: {error}") from error
        time.sleep(plan.load_s)
        if plan.die_loading:
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.refuse:
            raise LoadFailed(plan.refuse)
        return _EchoSession(plan)
