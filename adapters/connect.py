"""From an endpoint to a connection, whatever its backend."""

from __future__ import annotations

from adapters.base import Endpoint, Servable
from adapters.worker.client import WorkerClient


async def connect(endpoint: Endpoint) -> Servable:
    """Connect to an endpoint; raises BackendUnavailable where it cannot be reached."""
    # The clients' libraries are loaded once they are needed: a gateway without TF Serving does not pay for gRPC.
    match endpoint.backend:
        case "tfserving":
            from adapters.tfserving.client import TfServingClient

            return await TfServingClient.connect(endpoint)
        case "torchserve":
            from adapters.torchserve.client import TorchServeClient

            return await TorchServeClient.connect(endpoint)
        case _:
            return await WorkerClient.connect(endpoint)
