"""What takes turns with servers without being one: onnxruntime alone, in a loop."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.bench.contenders import Figures
from loadtests.bench.processes import Server

_ENDS_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the program measured, and the model's answer to the one row."""

    figures: Figures
    answer: list[Any]


def run(model: Path, core: int | None, x: NDArray[np.float32], rows: int = 1, seconds: float = 0.0) -> Run:
    """Have onnxruntime run batches of `rows` times the row `x`, on one core or (None) where the system puts it.

    Raises:
        SystemExit: it could not.
    """
    data = io.BytesIO()
    np.save(data, x)
    program = [sys.executable, "-m", "loadtests.bench.programs.raw_onnxruntime"]
    argv = [*program, str(model), "any" if core is None else str(core), str(rows), str(seconds)]
    try:
        ended = subprocess.run(
            argv, input=data.getvalue(), stdout=subprocess.PIPE, check=True, timeout=2 * seconds + _ENDS_S
        )
    except subprocess.SubprocessError as error:
        raise SystemExit(f"onnxruntime could not run {model.name}: {error}") from None
    found = json.loads(ended.stdout)
    answer = found.pop("answer")
    return Run(Figures(**found, failures=0, client_cpu=0), answer)


@dataclass(frozen=True, slots=True, eq=False)
class InProcess:
    """Batches of one size; a request is a row of them."""

    name: str
    beside: str
    model: Path
    core: int | None
    x: NDArray[np.float32]
    rows: int = 1
    servers: tuple[Server, ...] = ()
    networked: bool = False

    def check(self) -> None:
        """Its answers are what others are checked against."""

    def measure(self, _connections: int, seconds: float) -> Figures:
        """Run as fast as it can."""
        return run(self.model, self.core, self.x, self.rows, seconds).figures
