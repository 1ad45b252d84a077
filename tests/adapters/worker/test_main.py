"""The worker as a program: a line in, a line out, and its end when nobody holds its stdin any more."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from adapters.base import Batching
from adapters.worker.job import Job, Ready, Refused

ROOT = Path(__file__).resolve().parents[3]
Start: TypeAlias = Callable[[Job], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a worker without anything that ties it to this process, and gives it its job."""
    started: list[asyncio.subprocess.Process] = []

    async def start(job: Job) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "adapters.worker.main"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="torii-") as name:
        yield Path(name)


def job(folder: Path, runtime: str = "adapters.echo:EchoRuntime", **plan: Any) -> Job:
    (folder / "echo.json").write_text(json.dumps({"inputs": [], **plan}))
    return Job(runtime, str(folder / "echo.json"), str(folder / "socket"), {}, None, Batching())


async def answer(process: asyncio.subprocess.Process) -> Ready | Refused:
    assert process.stdout is not None
    return msgspec.json.decode(await process.stdout.readline(), type=Ready | Refused)


async def test_a_worker_ends_in_order_when_its_stdin_is_closed(start: Start, folder: Path) -> None:
    process = await start(job(folder))
    assert isinstance(await answer(process), Ready)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_worker_that_refuses_its_artifact_ends_by_itself(start: Start, folder: Path) -> None:
    process = await start(job(folder, refuse="the weights are of another model"))
    assert await answer(process) == Refused("the weights are of another model")
    assert await process.wait() == 0


async def test_what_a_runtime_prints_is_not_taken_for_the_answer(start: Start, folder: Path) -> None:
    process = await start(job(folder, "tests.adapters.worker.sessions:TalkativeRuntime"))
    ready = await answer(process)
    assert isinstance(ready, Ready)
    assert ready.runtime == "talkative 1"
