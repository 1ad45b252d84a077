"""The parent's side of a measuring child: starts it, has it run and time its model, and ends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from adapters.errors import InferenceFailed, InvalidInput
from adapters.export.environments import BASIC_VARIABLES
from adapters.export.formats import Form, Format
from adapters.process import Child
from adapters.tensors import DataType, Tensor, TensorSpec, datatype_named

OnRow: TypeAlias = Callable[[float, str], None]

SESSIONS: Final[Mapping[Format, str]] = MappingProxyType(
    {
        Format.KERAS: "keras",
        Format.SAVED_MODEL: "saved_model",
        Format.TORCHSCRIPT: "torchscript",
        Format.EXPORTED: "exported",
        Format.ONNX: "onnx",
        Format.ORT: "onnx",
        Format.TFLITE: "tflite",
        Format.TFJS: "tfjs",
        Format.PTE: "executorch",
    }
)
"""The module of `adapters.export.sessions` that runs each format."""

_CHILD = Path(__file__).with_name("child.py")
_GRACE_S = 2.0

# Figures of one thread are the ones that compare: how many cores a phone gives a model is another matter. No GPU, for
# the same reason. What is in PYTHONPATH here is not for another environment.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONPATH": "",
    "PYTHONNOUSERSITE": "1",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: what form it is of, and its file or folder.

    `python` is the interpreter that has its runtime, `node_modules` where TensorFlow.js is installed (tfjs alone).
    """

    form: Form
    path: Path
    python: Path = field(default_factory=lambda: Path(sys.executable))
    node_modules: Path | None = None

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.form} ({self.path.name})"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What measuring may take: seconds until a child has loaded its model, or done one thing, and bytes of memory.

    Fewer rows are compared where the source would take longer than `rows_s` for all of them.
    """

    load_s: float = 300.0
    command_s: float = 600.0
    rows_s: float = 60.0
    memory_bytes: int = 8 << 30


@dataclass(frozen=True, slots=True)
class MeasuredTensor:
    """One input or output; None where the format does not say: the datatype, or the whole shape."""

    name: str
    datatype: DataType | None
    shape: tuple[int | None, ...] | None

    @property
    def fixed_rows(self) -> int | None:
        """The size of axis 0, where it is fixed."""
        return self.shape[0] if self.shape else None

    def spec(self) -> TensorSpec | None:
        """As a specification, where the format says what one is."""
        return None if self.datatype is None else TensorSpec(self.name, self.datatype, self.shape)


class Measured:
    """A model that a child has loaded. Commands are answered one at a time.

    Each raises InferenceFailed where the model fails, takes too much, or ends its process.
    """

    def __init__(self, child: Child, subject: Subject, bounds: Bounds) -> None:
        self._child = child
        self._bounds = bounds
        self.subject = subject
        self.runtime = ""
        self.load_ns = 0
        self.inputs: tuple[MeasuredTensor, ...] = ()
        self.outputs: tuple[MeasuredTensor, ...] = ()

    @property
    def rows_s(self) -> float:
        """See Bounds."""
        return self._bounds.rows_s

    @property
    def fixed_rows(self) -> int | None:
        """The batch that the model is made for; None where it takes any."""
        return next((each.fixed_rows for each in self.inputs if each.fixed_rows is not None), None)

    async def load(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Load the model; the names are for formats that have none."""
        job = {
            "session": SESSIONS[self.subject.form.format],
            "path": str(self.subject.path),
            "names": {"inputs": list(inputs), "outputs": list(outputs)},
            "memory_bytes": self._bounds.memory_bytes,
        }
        told = await self._asked(job, self._bounds.load_s, "loading")
        self.runtime, self.load_ns = told["runtime"], told["load_ns"]
        self.inputs, self.outputs = (tuple(map(_tensor, told[each])) for each in ("inputs", "outputs"))

    async def run(
        self, files: Mapping[str, Path], rows: int, step: int, folder: Path, on_row: OnRow | None = None
    ) -> dict[str, Tensor]:
        """Run all rows, `step` at once: outputs by name, [rows, …], as files of `folder`, mapped into memory."""
        await asyncio.to_thread(folder.mkdir)
        answer = await self._command("rows", on_row, files=_told(files), rows=rows, step=step, to=str(folder))
        return {name: await asyncio.to_thread(_read, Path(path)) for name, path in answer["files"].items()}

    async def times_ns(
        self, files: Mapping[str, Path], *, rows: int, step: int, first: int, budget_ns: int, most: int
    ) -> list[int]:
        """Times of runs of `step` rows each, in nanoseconds: for `budget_ns` or `most` of them, and one at least."""
        limits = {"rows": rows, "step": step, "first": first, "budget_ns": budget_ns, "most": most}
        answer = await self._command("times", None, files=_told(files), **limits)
        return list(answer["ns"])

    async def operators(self, files: Mapping[str, Path], step: int) -> dict[str, int]:
        """How often each operator is used in a run."""
        return dict((await self._command("operators", None, files=_told(files), step=step))["operators"])

    async def _command(self, do: str, on_row: OnRow | None, **told: Any) -> Mapping[str, Any]:
        return await self._asked({"do": do, **told}, self._bounds.command_s, "running", on_row)

    async def _asked(
        self, message: Mapping[str, Any], limit_s: float, what: str, on_row: OnRow | None = None
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(limit_s):
                await self._child.send_line(msgspec.json.encode(message))
                while line := await self._child.read_line():
                    answer = msgspec.json.decode(line)
                    if "refused" in answer:
                        raise InferenceFailed(f"{self.subject.where}: {answer['refused']}")
                    fraction, told = answer.get("progress") or (0.0, "")
                    if isinstance(told, dict):
                        return told
                    if on_row is not None:
                        on_row(fraction, told)
                how = await self._child.wait()
        except TimeoutError:
            raise InferenceFailed(f"{self.subject.where}: {what} took longer than {limit_s:g} s") from None
        raise InferenceFailed(f"{self.subject.where}: its process ended while {what} ({how})")


@asynccontextmanager
async def measured(
    subject: Subject, inputs: Sequence[str], outputs: Sequence[str], bounds: Bounds
) -> AsyncIterator[Measured]:
    """A child that has loaded the model, ended with the context; the names are for formats that have none.

    Raises:
        InferenceFailed: it cannot be loaded.
        InvalidInput: the interpreter for this format is not there.
    """
    if not subject.python.exists():
        raise InvalidInput(f"{subject.where}: its environment is not there: {subject.python}")
    argv = [str(subject.python), "-P", str(_CHILD), "adapters.export.measure"]
    environment = {**_ENVIRONMENT, "TORII_NODE_MODULES": str(subject.node_modules or "")}
    child = await Child.start(argv, name=f"measuring {subject.form}", env=environment, inherited=BASIC_VARIABLES)
    try:
        loaded = Measured(child, subject, bounds)
        await loaded.load(inputs, outputs)
        yield loaded
    finally:
        await child.stop(_GRACE_S)


def _tensor(told: Mapping[str, Any]) -> MeasuredTensor:
    datatype = None if told["datatype"] is None else datatype_named(told["datatype"])
    return MeasuredTensor(told["name"], datatype, None if told["shape"] is None else tuple(told["shape"]))


def _told(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in files.items()}


def _read(path: Path) -> Tensor:
    array: Tensor = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind != "S":
        return array
    texts = np.empty(array.shape, np.object_)
    texts.ravel()[:] = array.ravel().tolist()
    return texts
