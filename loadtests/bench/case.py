"""What is measured: a model, one row of input, and what onnxruntime answers to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtests.bench import in_process
from loadtests.bench.processes import Place

_MODEL_TOML = "[backend.onnxruntime]\nintra_op_threads = 1\n"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model in a repository of Torii's: input `x`, output `y`, both FP32 with the batch axis first."""

    name: str
    model: Path
    x: NDArray[np.float32]
    expected: NDArray[np.float32]

    @property
    def repository(self) -> Path:
        """The folder for `torii serve`."""
        return self.model.parents[2]

    def also(self, name: str, more_toml: str) -> None:
        """Put the same model into the repository under another name, with other settings."""
        version = self.repository / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(self.model.read_bytes())
        (version.parent / "model.toml").write_text(_MODEL_TOML + more_toml)


def make(place: Place, name: str, write: Callable[[Path], None], shape: tuple[int, ...]) -> Case:
    """Write the model by `write`, and have onnxruntime answer one row of that shape, batch axis included."""
    model = place.folder / "repository" / name / "1" / "model.onnx"
    write(model)
    (model.parents[1] / "model.toml").write_text(_MODEL_TOML)
    x = np.random.default_rng(1).random(shape, np.float32)
    return Case(name, model, x, np.array(in_process.run(model, place.core, x).answer, np.float32))
