"""The first requests to a fresh deployment, made by the gateway itself, so that no caller has to pay for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.base import RUNTIMES_OWN, Endpoint, Servable
from adapters.errors import BackendUnavailable, ServingError
from adapters.golden import golden_inputs, invented_inputs
from adapters.tensors import Tensors

_log = logging.getLogger(__name__)

_TIMES = 3
"""TorchScript compiles anew on its first two runs, for what it saw in them."""

_TIMEOUT_S = 30.0


class WarmUp:
    """Runs a deployment on its golden inputs, or on invented ones, before it is published."""

    def __init__(self, connect: Callable[[Endpoint], Awaitable[Servable]]) -> None:
        self._connect = connect

    async def __call__(self, endpoint: Endpoint, golden: Path | None) -> None:
        """Warm an endpoint up. A model that fails on the trial is served all the same: the log says so.

        Raises:
            BackendUnavailable: the endpoint cannot be reached.
        """
        if endpoint.backend in RUNTIMES_OWN:
            return  # a worker rehearses before it says that it is ready
        inputs = await asyncio.to_thread(golden_inputs, golden) if golden else None
        if not inputs and endpoint.pid and endpoint.remote.get("kind") != "raw":
            inputs = invented_inputs(endpoint.signature)  # never for other people's servers and handlers
        if not inputs:
            return
        servable = await self._connect(endpoint)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for trial in (inputs, _first_row(inputs)):
                    for _ in range(_TIMES):
                        await servable.infer(trial)
        except BackendUnavailable:
            raise
        except (ServingError, TimeoutError) as error:
            _log.info("no warm-up at %s: it failed on trial inputs: %s", endpoint.address, error)
        finally:
            await servable.aclose()


def _first_row(inputs: Tensors) -> Tensors:
    """What most requests will look like: a batch of one."""
    return {name: tensor[:1] if tensor.ndim else tensor for name, tensor in inputs.items()}
