"""Starts a TF Serving of Torii's own: `tensorflow_model_server` where it is on PATH, else the embedded one."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import BackendUnavailable, DeadlineExceeded
from adapters.process import Child, python_argv, python_environment
from adapters.tfserving.model_service import ModelService
from adapters.tfserving.versions import describe_embedded

_READY_LIMIT_S = 60.0
_VERSION_LIMIT_S = 20.0
_SOCKET_BYTES = 107
_SOCKET_POLL_S = 0.01
_REAL = "tensorflow_model_server"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and what to call it."""

    argv: Sequence[str]
    runtime: str


@dataclass(frozen=True, slots=True)
class Server:
    """A TF Serving that runs and answers."""

    child: Child
    service: ModelService
    address: str
    runtime: str

    async def stop(self, grace_s: float) -> None:
        """Stop it, and clean up behind it."""
        await self.service.aclose()
        await self.child.stop(grace_s)
        _remove(self.address)


async def choose_program() -> Program:
    """The real server, if there is one on PATH; it is called by the version that it prints."""
    real = shutil.which(_REAL)
    if real is None:
        return Program(python_argv("adapters.tfserving.embedded"), describe_embedded())
    printed = await _printed_version(real)
    version = re.search(r"TensorFlow ModelServer: (\S+)", printed)
    return Program([real], f"TensorFlow Serving {version[1]}" if version else f"{_REAL} of unknown version ({real})")


async def start(folder: Path) -> Server:
    """Start a server without models that listens on a Unix socket only, and wait until it answers.

    Raises:
        BackendUnavailable: it does not start, with its last words.
    """
    program = await choose_program()
    config = folder / "models.config"
    config.write_text("model_config_list {}\n")  # with no list at all the real server starts uninitialised
    socket = _socket(folder)
    child = await Child.start([*program.argv, *_flags(socket, config)], name="TF Serving", env=python_environment())
    service = ModelService(f"unix:{socket}")
    try:
        await _wait_ready(child, service, socket)
    except BaseException:
        await service.aclose()
        await child.stop(grace_s=0)
        raise
    return Server(child, service, f"unix:{socket}", program.runtime)


def _flags(socket: Path, config: Path) -> list[str]:
    return [
        "--port=0",  # the real server binds TCP ports to every interface, and no flag changes that
        f"--grpc_socket_path={socket}",
        "--rest_api_port=0",
        f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=1",  # with 0 the real server never finds the models of a new configuration
        "--max_num_load_retries=0",  # 5 by default, a minute apart, before a corrupt model is reported
        "--num_load_threads=4",  # 0 by default: loading then holds up the thread that manages the others
        "--num_unload_threads=1",
    ]


async def _wait_ready(child: Child, service: ModelService, socket: Path) -> None:
    ready = asyncio.create_task(_answers(service, socket))
    ended = asyncio.create_task(child.wait())
    talking = asyncio.create_task(child.discard_stdout(), name="stdout of TF Serving")  # until it ends
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await asyncio.wait({talking}, timeout=1.0)  # the real server says there why it ends
            how = ended.result().partition(";")[0]
            raise BackendUnavailable(f"TF Serving ended at its start: {how}; it said: {child.tail()}")
        ready.result()
    except (TimeoutError, DeadlineExceeded) as error:
        raise BackendUnavailable(
            f"TF Serving did not answer within {_READY_LIMIT_S:g} s of its start; it said: {child.tail()}"
        ) from error
    finally:
        ready.cancel()
        ended.cancel()


async def _answers(service: ModelService, socket: Path) -> None:
    async with asyncio.timeout(_READY_LIMIT_S):
        while not socket.exists():  # noqa: ASYNC110, ASYNC240  # gRPC's own attempts come ever later: 0.3 s lost
            await asyncio.sleep(_SOCKET_POLL_S)
        await service.wait_ready(_READY_LIMIT_S)


async def _printed_version(real: str) -> str:
    process = await asyncio.create_subprocess_exec(
        real, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=None
    )
    try:
        async with asyncio.timeout(_VERSION_LIMIT_S):
            printed, _ = await process.communicate()
            return printed.decode(errors="replace")
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""


def _socket(folder: Path) -> Path:
    socket = folder / f"tfserving{next(_numbers)}.sock"
    if len(os.fsencode(socket)) > _SOCKET_BYTES:
        raise BackendUnavailable(f"TF Serving's socket: expected a path of at most {_SOCKET_BYTES} bytes, got {socket}")
    socket.unlink(missing_ok=True)
    return socket


def _remove(address: str) -> None:
    Path(address.removeprefix("unix:")).unlink(missing_ok=True)
