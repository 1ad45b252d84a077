"""One request, whatever protocol it came by: route, lease, check, run."""

from __future__ import annotations

from adapters.errors import DeadlineExceeded
from gateway.deadline import Deadline
from gateway.registry import Lease, Registry
from gateway.types import InferRequest, InferResponse, Target


class DataPlane:
    """What every protocol calls."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def infer(self, request: InferRequest) -> InferResponse:
        """Run one request on the deployment that answers its target.

        Cancelling drops the request wherever it waits.

        Raises:
            ServingError: any of its subclasses; each protocol gives each its own code.
        """
        with self._registry.lease(request.target) as lease:
            signature = lease.servable.signature
            signature.check(request.inputs)
            if request.outputs is not None:
                signature.check_outputs(request.outputs)
            limit_ms = lease.limits.timeout_ms
            timeout_ms = limit_ms if request.timeout_ms is None else min(limit_ms, request.timeout_ms)
            try:
                with Deadline(timeout_ms / 1000):
                    outputs = await lease.servable.infer(request.inputs)
            except TimeoutError as error:
                raise DeadlineExceeded(f"{lease.deployment} took longer than {timeout_ms:g} ms") from error
            if request.outputs is not None:
                outputs = {name: outputs[name] for name in request.outputs}
            return InferResponse(request.id, lease.deployment, lease.endpoint.runtime, outputs)

    def resolve(self, target: Target) -> Lease:
        """The deployment that would answer a target now, for its metadata; raises as `infer` does."""
        return self._registry.lease(target)

    @property
    def registry(self) -> Registry:
        """The table of models."""
        return self._registry
