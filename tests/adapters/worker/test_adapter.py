"""Workers are started, watched and stopped: none is left behind, and whatever kills one is said."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from adapters import tether
from adapters.errors import BackendDied, LoadFailed
from adapters.worker.adapter import ECHO, ONNX_RUNTIME, TFLITE, LocalRuntime, WorkerAdapter
from tests.adapters.onnx_models import save_doubling
from tests.adapters.worker.workers import GATED, Gated, Workers, artifact
from tests.waiting import Started, children, command, gone, turns, until

ROOT = Path(__file__).resolve().parents[3]
TFLITE_MODEL = ROOT / "model_repo/digits/1/model.tflite"


def echo(folder: Path, **plan: Any) -> Path:
    path = folder / "echo.json"
    path.write_text(json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [None]}], **plan}))
    return path


async def test_what_the_model_refuses_is_the_artifact_s_fault_with_its_reason(
    workers: Workers, tmp_path: Path, started: Started
) -> None:
    with pytest.raises(LoadFailed, match=r"^the weights are of another model$"):
        await workers.adapter(ECHO).load(artifact(echo(tmp_path, refuse="the weights are of another model")))
    assert started() == []


@pytest.mark.parametrize(
    ("local", "content", "says"),
    [
        (ONNX_RUNTIME, b"", "No graph was found in the protobuf"),
        (ONNX_RUNTIME, b"\xff" * 400, "Protobuf parsing failed"),
        (ONNX_RUNTIME, "half", "Protobuf parsing failed"),
        (TFLITE, b"", "is empty"),
        (TFLITE, b"TFL3" * 100, "not a valid Flatbuffer"),
        (TFLITE, "half", "not a valid Flatbuffer"),
    ],
    ids=lambda value: value.backend if isinstance(value, LocalRuntime) else str(value)[:8],
)
async def test_a_file_that_is_no_model_is_refused_with_a_reason(
    workers: Workers, tmp_path: Path, started: Started, local: LocalRuntime, content: bytes | str, says: str
) -> None:
    whole = save_doubling(tmp_path / "whole.onnx") if local is ONNX_RUNTIME else TFLITE_MODEL
    path = tmp_path / f"model{whole.suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2] if content == "half" else content)  # type: ignore[arg-type]
    with pytest.raises(LoadFailed, match=says):
        await workers.adapter(local).load(artifact(path))
    assert started() == []


async def test_a_file_that_is_not_there_is_refused(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"absent\.onnx"):
        await workers.adapter(ONNX_RUNTIME).load(artifact(tmp_path / "absent.onnx"))


async def test_a_model_that_kills_its_loader_is_told_from_one_that_is_refused(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(BackendDied, match="died while loading: killed by SIGKILL"):
        await workers.adapter(ECHO).load(artifact(echo(tmp_path, die_loading=True)))
    assert workers.deaths == [], "the load's own error says it"


async def test_a_runtime_that_cannot_be_imported_is_said_with_its_last_words(workers: Workers, tmp_path: Path) -> None:
    local = LocalRuntime("none", "tests.adapters.worker.nothing:Nothing", (), "")
    with pytest.raises(BackendDied, match=r"exit code 1; last lines of stderr: .*No module named"):
        await workers.adapter(local).load(artifact(tmp_path))


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are workers already, and not still on their way to become one."""
    lines = {each: command(each) for each in processes}
    return [each for each, line in lines.items() if "adapters.worker.main" in line and tether.__file__ not in line]


async def test_a_worker_killed_while_it_loads_fails_the_load(
    workers: Workers, tmp_path: Path, started: Started
) -> None:
    load = asyncio.create_task(workers.adapter(ECHO).load(artifact(echo(tmp_path, load_s=600))))
    (worker,) = await until(lambda: running(started()))
    worker.kill()
    with pytest.raises(BackendDied, match="died while loading: killed by SIGKILL"):
        await load


@pytest.mark.parametrize("moment", ["at once", "a moment later", "when the process is there", "while it loads"])
async def test_a_load_that_is_cancelled_leaves_no_process(
    workers: Workers, tmp_path: Path, started: Started, moment: str
) -> None:
    load = asyncio.create_task(workers.adapter(ECHO).load(artifact(echo(tmp_path, load_s=600))))
    match moment:
        case "a moment later":
            await turns(2)
        case "when the process is there":
            await until(started)
        case "while it loads":
            await until(lambda: running(started()))
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    await until(lambda: not started())
    assert list(workers.sockets.iterdir()) == []


async def test_unload_ends_the_process_and_is_no_death(workers: Workers, tmp_path: Path) -> None:
    adapter = workers.adapter(ECHO)
    kept, dropped = [await adapter.load(artifact(echo(tmp_path))) for _ in range(2)]
    await adapter.unload(dropped)
    assert gone(dropped.pid or 0)
    assert [f"unix:{each}" for each in workers.sockets.iterdir()] == [kept.address]
    answer = await (await workers.connect(kept)).infer({"x": np.ones(1, np.float32)})
    assert answer["x"].tolist() == [1.0]
    await adapter.unload(dropped)
    assert workers.deaths == []


async def test_unload_ends_a_worker_in_the_middle_of_a_run(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=1)
    request = await gated.begin(await gated.client(), 1.0)
    await gated.running()
    await gated.adapter.unload(gated.endpoint)
    assert gone(gated.pid)
    with pytest.raises(BackendDied):
        await request
    assert workers.deaths == []


async def test_close_ends_what_is_loaded_and_what_is_being_loaded(
    workers: Workers, tmp_path: Path, started: Started
) -> None:
    adapter = workers.adapter(ECHO)
    await adapter.load(artifact(echo(tmp_path)))
    loading = asyncio.create_task(adapter.load(artifact(echo(tmp_path, load_s=600))))
    await until(lambda: len(running(started())) == 2)
    await adapter.close()
    assert started() == []
    with pytest.raises(BackendDied):
        await loading
    assert workers.deaths == []


async def test_a_worker_that_dies_idle_is_reported_and_its_socket_taken_away(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(ECHO).load(artifact(echo(tmp_path)))
    os.kill(endpoint.pid or 0, 9)
    await until(lambda: workers.deaths)
    assert workers.deaths == [(endpoint, "the worker died: killed by SIGKILL")]
    assert list(workers.sockets.iterdir()) == []


PARENT = """
import asyncio, sys
from pathlib import Path
from adapters.base import Artifact
from adapters.worker.adapter import ECHO, WorkerAdapter
async def main():
    adapter = WorkerAdapter(ECHO, Path(sys.argv[2]), print)
    endpoint = await adapter.load(Artifact("m", 1, "echo", Path(sys.argv[1]), "0"))
    print("loaded", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("load_s", [0, 600])
async def test_a_worker_ends_when_its_parent_is_killed(workers: Workers, tmp_path: Path, load_s: int) -> None:
    line = [sys.executable, "-c", PARENT, str(echo(tmp_path, load_s=load_s)), str(workers.sockets)]
    parent = await asyncio.create_subprocess_exec(*line, stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    try:
        if load_s == 0:
            assert await parent.stdout.readline() == b"loaded\n"
        (worker,) = await until(lambda: running(children(parent.pid)))
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: gone(worker.pid))


@pytest.mark.parametrize(
    ("modules", "missing"),
    [
        ((), None),
        (("json",), None),
        (("torii_absent", "json"), None),
        (("torii_absent", "torii_gone"), "torii_absent is not installed: pip install 'torii-gateway[extra]'"),
    ],
)
def test_a_runtime_that_is_not_installed_is_said_with_how_to_install_it(
    tmp_path: Path, modules: tuple[str, ...], missing: str | None
) -> None:
    adapter = WorkerAdapter(LocalRuntime("x", "x:X", modules, "extra"), tmp_path, lambda *_: None)
    assert adapter.missing() == missing


async def test_the_owner_s_options_and_limit_reach_the_worker(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(GATED).load(artifact(tmp_path / "gate", 5))
    assert endpoint.remote == {"max_rows": "5", "instances": "1"}
    with pytest.raises(LoadFailed, match="execution_providers: TurboProvider not in this onnxruntime, which has"):
        await workers.adapter(ONNX_RUNTIME).load(
            artifact(save_doubling(tmp_path / "model.onnx"), execution_providers=["TurboProvider"])
        )
