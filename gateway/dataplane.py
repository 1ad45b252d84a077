"""One request, whatever protocol it came by: route, lease, check, run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import TypeVar

from adapters.base import Servable, Urgency
from adapters.errors import DeadlineExceeded
from gateway.deadline import Deadline, Deadlines
from gateway.errors import Overloaded
from gateway.registry import Lease, Registry
from gateway.types import InferRequest, InferResponse, Target

T = TypeVar("T")


class DataPlane:
    """What every protocol calls."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deadlines = Deadlines()

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
            began_ns = monotonic_ns()
            timeout_s = _timeout_s(lease, request.timeout_ms)
            urgency = Urgency(began_ns + int(timeout_s * 1e9), request.priority)
            try:
                with Deadline(self._deadlines, timeout_s):
                    outputs = await lease.servable.infer(request.inputs, urgency)
            except TimeoutError as error:
                lease.statistics.failed(monotonic_ns() - began_ns, error)
                raise _late(lease, timeout_s) from error
            except BaseException as error:
                lease.statistics.failed(monotonic_ns() - began_ns, error)
                raise
            lease.statistics.succeeded(signature.rows(request.inputs), monotonic_ns() - began_ns)
            if request.outputs is not None:
                outputs = {name: outputs[name] for name in request.outputs}
            return InferResponse(request.id, lease.deployment, lease.endpoint.runtime, outputs)

    async def relay(self, lease: Lease, act: Callable[[Servable], Awaitable[T]], timeout_ms: float | None = None) -> T:
        """Have a deployment do what only its kind of servable can, under its limits and deadline; counts one row.

        `lease` comes from `resolve`, with nothing awaited since.

        Raises:
            ServingError: as `infer` does.
        """
        with lease:
            began_ns = monotonic_ns()
            timeout_s = _timeout_s(lease, timeout_ms)
            urgency = Urgency(began_ns + int(timeout_s * 1e9))
            try:
                with Deadline(self._deadlines, timeout_s):
                    result = await lease.servable.let_through(act, urgency)
            except TimeoutError as error:
                lease.statistics.failed(monotonic_ns() - began_ns, error)
                raise _late(lease, timeout_s) from error
            except BaseException as error:
                lease.statistics.failed(monotonic_ns() - began_ns, error)
                raise
            lease.statistics.succeeded(1, monotonic_ns() - began_ns)
            return result

    def admit(self, target: Target) -> None:
        """Refuse a request before its body is read, where its deployment would refuse even the most pressing one.

        Raises:
            ServingError: as `infer` does.
        """
        lease = self._registry.lease(target)
        try:
            lease.servable.check(priority=1)
        except Overloaded as error:
            lease.statistics.failed(0, error)
            raise

    def resolve(self, target: Target) -> Lease:
        """The deployment that would answer a target now, for its metadata; raises as `infer` does."""
        return self._registry.lease(target)

    @property
    def registry(self) -> Registry:
        """The table of models."""
        return self._registry


def _timeout_s(lease: Lease, asked_ms: float | None) -> float:
    limit_ms = lease.serving.limits.timeout_ms
    return (limit_ms if asked_ms is None else min(limit_ms, asked_ms)) / 1000


def _late(lease: Lease, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"{lease.deployment} took longer than {timeout_s * 1000:g} ms")
