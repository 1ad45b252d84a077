"""A model tried on its golden data, before it may stand in for one that works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from torii_edge.errors import Busy, EdgeError, Refused, Unfit
from torii_edge.manifest import Manifest, dtype_of, parse_object
from torii_edge.runtimes import Arrays, Load, installed_runtimes
from torii_edge.tensors import run

_TIMED_RUNS: Final = 20
_TIMED_S: Final = 2.0
_DETAIL: Final = 300
_CHILD: Final = "from torii_edge.self_check import main; main()"


@dataclass(frozen=True)
class Checked:
    """How a self-check ended: why it failed, and how many milliseconds a run took, each time."""

    passed: bool
    reason: str = ""
    latency_ms: tuple[float, ...] = ()


Check = Callable[[Path, float], Checked]
"""Checks an unpacked bundle within so many seconds."""


def check_in_child(folder: Path, within_s: float) -> Checked:
    """Check it in a process of its own: one that crashes, hangs or eats its memory costs nothing else."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _CHILD, str(folder)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Checked(False, f"the model did not finish its golden data within {within_s:g} s")
    except OSError as error:
        raise Busy(f"no process for the self-check can be started now: {error}") from error
    if ended.returncode < 0:
        return Checked(False, f"the model ended its process by {_signal(-ended.returncode)}")
    try:
        answer = json.loads(ended.stdout)
        return Checked(bool(answer["passed"]), str(answer["reason"]), tuple(map(float, answer["latency_ms"])))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Checked(False, f"the model ended its process with status {ended.returncode}")


def check_here(folder: Path, loads: Mapping[str, Load]) -> Checked:
    """Check it in this process."""
    try:
        manifest = Manifest.read(folder)
        session = load_model(folder, manifest, loads)
        if manifest.golden is None:
            return Checked(True)
        inputs, expected = golden_data((folder / manifest.golden).read_bytes())
        answers = run(session, manifest, inputs)
        reason = difference(expected, answers, manifest.tolerance)
        return Checked(not reason, reason, () if reason else _timed(lambda: run(session, manifest, inputs)))
    except Exception as error:  # noqa: BLE001  # whatever a runtime raises, the model is not fit
        text = str(error) if isinstance(error, EdgeError) else f"{type(error).__name__}: {error}"
        return Checked(False, text[:_DETAIL])


def load_model(folder: Path, manifest: Manifest, loads: Mapping[str, Load]) -> Any:
    """Load an unpacked bundle's model; raises Unfit where no runtime for it is installed, or it will not load."""
    if manifest.runtime not in loads:
        raise Unfit(f"runtime {manifest.runtime!r:.40} is not installed; there is {', '.join(loads) or 'none'}")
    try:
        return loads[manifest.runtime](folder / manifest.model_file, manifest)
    except Exception as error:
        raise Unfit(f"{manifest.model_file} does not load: {type(error).__name__}: {error}"[:_DETAIL]) from error


def golden_data(text: bytes) -> tuple[Arrays, Arrays]:
    """Inputs and expected outputs by name; raises Refused."""
    fields = parse_object(text, "golden data")
    inputs, outputs = (_arrays(fields.get(name), name) for name in ("inputs", "outputs"))
    if not outputs:
        raise Refused("golden data: outputs: expected at least one, got none")
    return inputs, outputs


def difference(expected: Arrays, answers: Arrays, tolerance: Mapping[str, float]) -> str:
    """What is wrong with the answers; empty where they are as near as they must be.

    No value may differ by more than `max_abs`; of all outputs' rows, at least the share `argmax` has its largest value
    at the same place. Texts and truth values must be equal, and so must integers where no tolerance is stated.
    """
    same: list[bool] = []
    for name, wanted in expected.items():
        if name not in answers:
            return f"output {name!r:.80} is missing"
        got = answers[name]
        if got.shape != wanted.shape:
            return f"output {name!r:.80}: expected shape {list(wanted.shape)}, got {list(got.shape)}"
        reason = _far(wanted, got, tolerance)
        if reason:
            return f"output {name!r:.80}: {reason}"
        if wanted.ndim > 1 and wanted.shape[-1] > 1 and wanted.size and wanted.dtype.kind in "fiu":
            same += np.atleast_1d(wanted.argmax(-1) == got.argmax(-1)).ravel().tolist()
    share, least = (float(np.mean(same)) if same else 1.0), tolerance.get("argmax", 0.0)
    return (
        "" if share >= least else f"the same largest value in {share:.1%} of the rows; at least {least:.1%} is wanted"
    )


def _far(wanted: NDArray[Any], got: NDArray[Any], tolerance: Mapping[str, float]) -> str:
    if wanted.dtype.kind not in "fiu" or got.dtype.kind not in "fiu" or not wanted.size:
        return "" if np.array_equal(_texts(wanted), _texts(got)) else "other values than the golden ones"
    with np.errstate(invalid="ignore"):  # infinity less infinity
        far = np.abs(wanted.astype(np.float64) - got.astype(np.float64))
    far[(wanted == got) | (np.isnan(wanted) & np.isnan(got))] = 0
    farthest = float("inf") if np.isnan(far).any() else float(np.max(far))
    exact = wanted.dtype.kind in "iu" and not tolerance
    most = tolerance.get("max_abs", 0.0 if exact else sys.float_info.max)
    return "" if farthest <= most else f"differs by {farthest:.3g} from the golden data; at most {most:.3g} is allowed"


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    """Strings as text, of whatever kind they came."""
    if array.dtype.kind not in "OSU":
        return array
    texts = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _arrays(tensors: object, name: str) -> dict[str, NDArray[Any]]:
    if not isinstance(tensors, list):
        raise Refused(f"golden data: {name}: expected a list, got {type(tensors).__name__}")
    try:
        return {
            str(each["name"]): np.array(each["data"], dtype=dtype_of(each["datatype"])).reshape(each["shape"])
            for each in tensors
        }
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise Refused(f"golden data: {name}: expected name, datatype, shape and data ({error})") from error


def _timed(once: Callable[[], object]) -> tuple[float, ...]:
    """Milliseconds of each of some runs."""
    times: list[float] = []
    until = time.monotonic() + _TIMED_S
    while len(times) < _TIMED_RUNS and time.monotonic() < until:
        begun = time.perf_counter()
        once()
        times.append(round((time.perf_counter() - begun) * 1e3, 4))
    return tuple(times)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main() -> None:
    """What the child does: check the folder that its command line names, and answer in JSON."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a runtime prints is not taken for the answer
    checked = check_here(Path(sys.argv[1]), installed_runtimes())
    os.write(answers, json.dumps(asdict(checked)).encode())
    os._exit(0)  # a runtime that crashes on its way out has answered all the same
