"""What loading an artifact into a TorchServe takes: archive, registration, description; and the way back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import secrets
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from adapters.base import Artifact, Endpoint
from adapters.errors import BackendUnavailable, LoadFailed, ServingError
from adapters.golden import golden_signature
from adapters.tensors import DataType, Signature, TensorSpec
from adapters.torchserve import archive
from adapters.torchserve.client import TorchServeClient
from adapters.torchserve.host import Host
from adapters.torchserve.plan import DESCRIBE, Plan, Refused, decode_description
from adapters.torchserve.server import MAX_BODY_BYTES
from adapters.wire import MAX_FRAME_BYTES

RAW_SIGNATURE = Signature(
    (TensorSpec("data", DataType.BYTES, (None,)),), (TensorSpec("prediction", DataType.BYTES, (None,)),)
)
"""What a foreign handler takes and gives: bytes, whose meaning is between it and its clients."""

_QUERIES = {"workers": "initial_workers", "response_timeout_s": "response_timeout"}
"""Options that TorchServe is told when a model is registered, and what it calls them."""

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b")
_POLL_S = 0.05
_FIRST_SIGN_S = 120.0


async def load(host: Host, artifact: Artifact) -> Endpoint:
    """Register an artifact and learn its signature; a load that fails leaves nothing behind.

    Raises:
        LoadFailed: the artifact is at fault.
        BackendUnavailable: TorchServe is.
    """
    store = host.address.model_store
    if store is None:
        return await _find(host, artifact)
    options = _options(artifact)
    raw = artifact.path.suffix == ".mar"
    # Unique, so that the old and the new content, or options, of one version live side by side during a change.
    unique = f"{artifact.digest[:12]}-{secrets.token_hex(3)}"
    entry = store / f"torii-{unique}"
    name = f"{artifact.model}.{artifact.version}.{unique}"
    endpoint = host.endpoint(name, "raw" if raw else "tensors", _raw_signature(artifact), None)
    endpoint = dataclasses.replace(
        endpoint, remote={**endpoint.remote, "entry": str(entry), "workers": str(options["workers"])}
    )
    try:
        await asyncio.to_thread(_put, host, artifact, options, entry)
        query = {query: options[key] for key, query in _QUERIES.items() if key in options}
        await _to_its_end(host.management.register(entry.name, name, query))
        pids = await _until_ready(host, artifact, name, options["workers"])
        signature = endpoint.signature if raw else await _described(endpoint)
        if host.server is None:  # they are no processes of this machine's
            return dataclasses.replace(endpoint, signature=signature)
        remote = {**endpoint.remote, "pids": " ".join(map(str, pids))}
        return dataclasses.replace(endpoint, signature=signature, pid=pids[0], remote=remote)
    except BaseException:
        with contextlib.suppress(ServingError):
            await unload(host, endpoint)
        raise


async def unload(host: Host, endpoint: Endpoint) -> None:
    """Unregister what `load` registered, and remove its archive."""
    entry = endpoint.remote.get("entry")
    if entry is None:  # it was registered by somebody else
        return
    try:
        await host.management.unregister(endpoint.remote["model"])
    finally:
        await asyncio.to_thread(archive.discard, Path(entry))


def _put(host: Host, artifact: Artifact, options: Mapping[str, Any], entry: Path) -> None:
    try:
        if artifact.path.suffix == ".mar":
            archive.unpack(artifact.path, entry)
            return
        signature = artifact.declared or (golden_signature(artifact.golden) if artifact.golden else None)
        limit = MAX_BODY_BYTES if host.server else MAX_FRAME_BYTES
        told = {key: options[key] for key in ("workers", "threads", "device") if key in options}
        plan = Plan(artifact.path.name, signature, max_answer_bytes=limit, **told)
        archive.pack(artifact.path, plan, entry)
    except OSError as error:
        raise LoadFailed(f"{artifact.path.name} cannot be put into TorchServe's model store: {error}") from error


async def _to_its_end(registering: Coroutine[Any, Any, None]) -> None:
    # Only what is registered can be unregistered: a cancelled load waits for that, it takes some milliseconds.
    task = asyncio.create_task(registering)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _until_ready(host: Host, artifact: Artifact, name: str, count: int) -> list[int]:
    """Wait until all workers have loaded the model; gives their pids.

    TorchServe starts a worker that died again and again, for minutes, and shows it as if it were still loading.
    What gives it away is that its process is gone, or another one.
    """
    seen: dict[int, int] = {}
    patience = asyncio.get_running_loop().time() + _FIRST_SIGN_S
    while True:
        workers = await host.management.workers(name)
        if len(workers) >= count and all(worker.ready for worker in workers):
            return [worker.pid for worker in workers]
        for index, worker in enumerate(workers):
            first = seen.setdefault(index, worker.pid) if worker.pid else 0
            if worker.pid != first or (host.server and first and not worker.ready and not _exists(first)):
                raise LoadFailed(f"{artifact.path.name}: {await _cause(host, name)}")
        if not seen and asyncio.get_running_loop().time() > patience:
            raise LoadFailed(f"{artifact.path.name}: {await _cause(host, name)}")
        await asyncio.sleep(_POLL_S)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _cause(host: Host, name: str) -> str:
    # A handler that fails to import is looked for among TorchServe's own, and that failure comes last.
    lines = reversed(await host.last_words(name))
    exceptions = (line for line in lines if _EXCEPTION.match(line) and "'ts.torch_handler." not in line)
    if cause := next(exceptions, None):
        return cause
    if host.server is None:
        return "its worker died; TorchServe's model log says more (tensors need numpy, ml_dtypes and msgspec there)"
    return "its worker died while loading and did not say why: native code crashed, or memory was short"


async def _described(endpoint: Endpoint) -> Signature:
    client = await TorchServeClient.connect(endpoint)
    try:
        description = decode_description(await client.post(DESCRIBE))
    finally:
        await client.aclose()
    if isinstance(description, Refused):
        raise LoadFailed(description.reason)
    return description.signature


async def _find(host: Host, artifact: Artifact) -> Endpoint:
    # TorchServe's own versions look like 1.0.
    for version in (f"{artifact.version}", f"{artifact.version}.0"):
        path = f"{artifact.model}/{version}"
        if await host.management.look(path) is not None:
            return host.endpoint(path, "raw", _raw_signature(artifact), None)
    raise BackendUnavailable(  # it may be registered there any time
        f"TorchServe at {host.address.management_url} has no model '{artifact.model}' version {artifact.version}: "
        f"register it there, or set model_store to the folder that it shares with this machine"
    )


def _raw_signature(artifact: Artifact) -> Signature:
    """The usual one, or one that gives the bytes other names."""
    declared = artifact.declared
    if declared is None or artifact.path.suffix != ".mar":
        return RAW_SIGNATURE
    kinds = [[spec.datatype for spec in specs] for specs in (declared.inputs, declared.outputs)]
    if kinds != [[DataType.BYTES], [DataType.BYTES]]:
        raise LoadFailed(
            f"{artifact.path.name} takes and gives bytes that only its handler understands: expected a declared "
            f"signature of one BYTES input and one BYTES output, got {kinds[0]} and {kinds[1]}"
        )
    return declared


def _options(artifact: Artifact) -> dict[str, Any]:
    known = [*_QUERIES, *(() if artifact.path.suffix == ".mar" else ("threads", "device"))]
    for key, value in artifact.options.items():
        if key not in known:
            ours = " (a .mar's own handler chooses its threads and its device)" if key in ("threads", "device") else ""
            raise LoadFailed(f"backend.torchserve.{key} is unknown; expected one of {', '.join(known)}{ours}")
        if key == "device":
            if not isinstance(value, str) or not _DEVICE.fullmatch(value):
                raise LoadFailed(f"backend.torchserve.device: expected cpu, cuda or cuda:N, got {value!r:.40}")
        elif type(value) is not int or value < 1:
            raise LoadFailed(f"backend.torchserve.{key}: expected a positive integer, got {value!r:.40}")
    return {"workers": 1, **artifact.options}
