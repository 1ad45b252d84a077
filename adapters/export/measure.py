"""The child that measures: loads one model, then runs and times it as it is told. Only numpy, besides its runtime.

`adapters.export.child` runs it. Commands come as lines of JSON on stdin, after the job, until its end; each is answered
by `report`, with the answer in the place of a text.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from adapters.export.sessions.session import Array, Measurable, Names
from adapters.export.steps.job import Refusal, first_lines

Report: TypeAlias = Callable[[float, Any], None]

_NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory")
_LOADS = 3
_LOADING_NS = 2_000_000_000
_FLOATS = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}


def run(job: Mapping[str, Any], report: Report) -> None:
    """Load `job`, and do what comes on stdin.

    Raises:
        Refusal: the model cannot be loaded, or fails.
    """
    _limit_memory(job["memory_bytes"])
    try:
        runtime = importlib.import_module(f"adapters.export.sessions.{job['session']}")
        session, load_ns = _loaded(runtime, Path(job["path"]), Names(**job["names"]))
    except Exception as error:
        raise _refusal(job, "it cannot be loaded", error) from error
    told = {"inputs": list(map(asdict, session.inputs)), "outputs": list(map(asdict, session.outputs))}
    report(0.0, {"runtime": runtime.describe(), "load_ns": load_ns, **told})
    commands: dict[str, Callable[..., Any]] = {"rows": _rows, "times": _times, "operators": _operators}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            report(1.0, commands[command.pop("do")](session, report, **command))
        except Exception as error:
            raise _refusal(job, "it fails on the rows", error) from error


def _refusal(job: Mapping[str, Any], what: str, error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError) or any(each in str(error).lower() for each in _NO_MEMORY):
        return Refusal(f"it needs more than the {job['memory_bytes'] >> 20} MiB of memory that measuring may take")
    return Refusal(f"{what}: {first_lines(error, 3)}")


def _limit_memory(most_bytes: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not everywhere, and never above what is set already
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))


def _loaded(runtime: Any, path: Path, names: Names) -> tuple[Measurable, int]:
    """The session, and the median of what loading took, in nanoseconds; a slow one is loaded once."""
    times: list[int] = []
    while len(times) < _LOADS and sum(times) < _LOADING_NS:
        start_ns = time.perf_counter_ns()
        session = runtime.load(path, names)
        times.append(time.perf_counter_ns() - start_ns)
    return session, sorted(times)[len(times) // 2]


def _rows(
    session: Measurable, report: Report, files: Mapping[str, str], rows: int, step: int, to: str
) -> Mapping[str, Any]:
    """Run all rows, `step` at once, the last filled up with copies; outputs go to .npy files in the folder `to`."""
    inputs = _inputs(session, files)
    with contextlib.ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        for start in range(0, rows, step):
            real = min(step, rows - start)
            answers = session.run({name: _part(array, start, step) for name, array in inputs.items()})
            for index, (name, array) in enumerate(answers.items()):
                if name not in writers:
                    writers[name] = stack.enter_context(_Writer(name, Path(to) / f"{index}.npy", rows, step))
                writers[name].add(np.asarray(array), real)
            report((start + real) / rows, f"row {start + real} of {rows}")
    return {"files": {name: str(writer.path) for name, writer in writers.items()}}


def _inputs(session: Measurable, files: Mapping[str, str]) -> dict[str, Array]:
    datatypes = {each.name: each.datatype for each in session.inputs}
    return {name: _cast(np.load(path, mmap_mode="r"), datatypes.get(name)) for name, path in files.items()}


def _cast(array: Array, datatype: str | None) -> Array:
    if array.dtype.kind == "S":
        return array.astype(np.object_)
    if datatype == "BF16":
        import ml_dtypes  # noqa: PLC0415  # an environment whose models have it has it

        return array.astype(ml_dtypes.bfloat16)
    return array if datatype is None else array.astype(_FLOATS.get(datatype, datatype.lower()), copy=False)


def _part(array: Array, start: int, step: int) -> Array:
    if not array.ndim:
        return np.array(array)
    part = np.array(array[start : start + step])
    return part if len(part) == step else np.concatenate([part, np.repeat(part[-1:], step - len(part), axis=0)])


class _Writer:
    """Writes an output batch by batch, since all of it may be more than memory holds."""

    def __init__(self, name: str, path: Path, rows: int, step: int) -> None:
        self.path = path
        self._name, self._rows, self._step = name, rows, step
        self._shape: tuple[int, ...] | None = None
        self._texts: list[Array] = []
        self._stream = path.open("wb")

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._texts:
            np.save(self._stream, np.concatenate(self._texts))
        self._stream.close()

    def add(self, array: Array, real: int) -> None:
        if array.ndim == 0 or len(array) != self._step:
            if self._rows > self._step:
                raise Refusal(
                    f"output '{self._name}' of {self._step} rows has the shape {list(array.shape)}, and no row of its "
                    "own for each: give one row of data, or none, to compare it as a whole"
                )
        else:
            array = array[:real]
        if self._shape is None:
            self._begin(array)
        elif array.shape[1:] != self._shape:
            got = f"{list(self._shape)} and then {list(array.shape[1:])}"
            raise Refusal(f"output '{self._name}' is of one shape for some rows and another for others: {got}")
        if array.dtype.kind in "OSU":
            self._texts.append(array.astype(np.bytes_))
        else:
            self._stream.write(np.ascontiguousarray(_plain(array)).data)

    def _begin(self, array: Array) -> None:
        self._shape = array.shape[1:]
        if array.dtype.kind not in "OSU":
            batched = array.ndim > 0 and self._rows > self._step
            shape = (self._rows, *array.shape[1:]) if batched else array.shape
            header = {"descr": _plain(array).dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._stream, header)


def _plain(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _times(session: Measurable, report: Report, files: Mapping[str, str], **limits: int) -> Mapping[str, Any]:
    """Time runs of `step` rows, one after the other from `first` on: `most`, or for `budget_ns`; one at least."""
    inputs = _inputs(session, files)
    rows, step = limits["rows"], limits["step"]
    taken: list[int] = []
    end_ns = time.perf_counter_ns() + limits["budget_ns"]
    while not taken or (len(taken) < limits["most"] and time.perf_counter_ns() < end_ns):
        start = (limits["first"] + len(taken)) * step % max(rows - step + 1, 1)
        batch = {name: _part(array, start, step) for name, array in inputs.items()}
        start_ns = time.perf_counter_ns()
        session.run(batch)
        # Where the model runs in a process beyond this one, that one's clock counts.
        taken.append(getattr(session, "last_ns", 0) or time.perf_counter_ns() - start_ns)
    return {"ns": taken}


def _operators(session: Measurable, report: Report, files: Mapping[str, str], step: int) -> Mapping[str, Any]:
    inputs = _inputs(session, files)
    return {"operators": dict(session.operators({name: _part(array, 0, step) for name, array in inputs.items()}))}
