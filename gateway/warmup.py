"""The first requests to a fresh deployment of a server, made by the gateway itself, so that no caller pays for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from adapters.base import RUNTIMES_OWN, Batching, Endpoint, Servable
from adapters.batch_axis import default_max_rows, independent, trials
from adapters.errors import BackendUnavailable, ServingError
from adapters.golden import golden_inputs, invented_inputs
from adapters.tensors import Tensors

_log = logging.getLogger(__name__)

_TIMES = 3
"""TorchScript compiles anew on its first two runs, for what it saw in them."""

_TIMEOUT_S = 30.0


class WarmUp:
    """Runs a deployment on its golden inputs, or on invented ones, and sees whether rows may be sent together."""

    def __init__(self, connect: Callable[[Endpoint], Awaitable[Servable]]) -> None:
        self._connect = connect

    async def __call__(self, endpoint: Endpoint, golden: Path | None, batching: Batching) -> Endpoint:
        """Warm an endpoint up, and give it with `remote["max_rows"]`: the rows that may be sent to it at once.

        `batching.max_rows` is the owner's word and is not doubted; without it, what others run (their servers, their
        handlers) has none. A model that fails on the trial is served all the same: the log says so.

        Raises:
            BackendUnavailable: the endpoint cannot be reached.
        """
        if endpoint.backend in RUNTIMES_OWN:
            return endpoint  # a worker rehearses before it says that it is ready
        ours = endpoint.pid is not None and endpoint.remote.get("kind") != "raw"
        inputs = await asyncio.to_thread(golden_inputs, golden) if golden else None
        if not inputs and ours:
            inputs = invented_inputs(endpoint.signature)
        tries = ours and batching.max_rows is None
        batches = bool(inputs) and await self._rehearse(endpoint, inputs or {}, tries)
        max_rows = batching.max_rows
        if tries:
            max_rows = default_max_rows(batching) if batches else 1
        if max_rows is None:
            return endpoint
        return replace(endpoint, remote={**endpoint.remote, "max_rows": str(max_rows)})

    async def _rehearse(self, endpoint: Endpoint, inputs: Tensors, tries: bool) -> bool:
        """Whether the model was seen to give each row its own answer, where that is to be tried."""
        servable = await self._connect(endpoint)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for trial in (inputs, _first_row(inputs)):
                    for _ in range(_TIMES):
                        await servable.infer(trial)
                return tries and await _batches(servable, inputs)
        except BackendUnavailable:
            raise
        except (ServingError, TimeoutError) as error:
            _log.info("no warm-up and no batching at %s: it failed on trial inputs: %s", endpoint.address, error)
            return False
        finally:
            await servable.aclose()


async def _batches(servable: Servable, inputs: Tensors) -> bool:
    pieces = trials(servable.signature, inputs)
    return bool(pieces) and independent([await servable.infer(piece) for piece in pieces])


def _first_row(inputs: Tensors) -> Tensors:
    """What most requests will look like: a batch of one."""
    return {name: tensor[:1] if tensor.ndim else tensor for name, tensor in inputs.items()}
