"""NVIDIA's Triton: its own server in C++ with its Python backend, from the PyPI package nvidia-pytriton.

The package has that backend alone (none in C++ for ONNX), and a stub for each of several Pythons, which needs the
shared library of the same Python on the system.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import peers
from loadtests.bench.case import Case
from loadtests.bench.processes import Place, Server, answers, free_ports, running
from loadtests.bench.servers import PROGRAMS

_CONFIG = """\
backend: "python"
max_batch_size: {rows}
input [{{name: "x" data_type: TYPE_FP32 dims: {takes}}}]
output [{{name: "y" data_type: TYPE_FP32 dims: {gives}}}]
instance_group [{{kind: KIND_CPU count: 1}}]
{batching}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as Triton shall serve it; `batching` lets it join what waits, without waiting for more."""

    name: str
    case: Case
    batching: bool = True


def missing() -> str | None:
    """Why Triton cannot run, or None."""
    if why := peers.missing("triton"):
        return why
    library = f"libpython{_python()}.so.1.0"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"its Python backend needs the system's {library}"
    return None


@contextlib.contextmanager
def triton(place: Place, models: Sequence[Served]) -> Iterator[Server]:
    """Triton once all models are ready."""
    http, grpc = free_ports(2)
    home = place.folder / "triton"
    for each in models:
        _write_model(home / "models" / each.name, each)
    argv = [
        *(str(_distribution() / "bin" / "tritonserver"), f"--model-repository={home / 'models'}"),
        *(f"--backend-directory={_backends(home / 'backends')}", "--allow-metrics=false"),
        *("--http-address=127.0.0.1", f"--http-port={http}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc}"),
    ]
    packages = {"PYTHONPATH": str(_packages())}
    with running("Triton", argv, place, lambda: answers(http, "/v2/health/ready"), packages) as process:
        yield Server("Triton", process, http, grpc)


def _write_model(folder: Path, served: Served) -> None:
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(PROGRAMS / "triton_model.py", folder / "1" / "model.py")
    (folder / "1" / "model.onnx").symlink_to(served.case.model)
    takes, gives = (list(each.shape[1:]) for each in (served.case.x, served.case.expected))
    batching = "dynamic_batching {}" if served.batching else ""
    config = _CONFIG.format(rows=peers.MAX_ROWS, takes=takes, gives=gives, batching=batching)
    (folder / "config.pbtxt").write_text(config)


def _backends(folder: Path) -> Path:
    """A folder of backends, for Triton looks for the stub beside the backend's library."""
    python = folder / "python"
    python.mkdir(parents=True)
    for each in (_distribution() / "backends" / "python").iterdir():
        (python / each.name).symlink_to(each)
    stub = "triton_python_backend_stub"
    (python / stub).symlink_to(_distribution() / "python_backend_stubs" / _python() / stub)
    return folder


def _packages() -> Path:
    return next((peers.PEERS / "triton" / "lib").glob("python3.*/site-packages"))


def _python() -> str:
    return _packages().parent.name.removeprefix("python")


def _distribution() -> Path:
    return _packages() / "pytriton" / "tritonserver"
