"""One request, whatever protocol it came by: assign, route, lease, check, run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic_ns
from typing import Any, Final, TypeVar

import msgspec

from adapters.base import Servable, Urgency
from adapters.errors import DeadlineExceeded, ServingError
from adapters.tensors import Tensors
from gateway.deadline import Deadline, Deadlines
from gateway.errors import Overloaded
from gateway.experiments.assignment import Assignment
from gateway.registry import Able, Lease, Registry
from gateway.shadowing import Shadows
from gateway.types import Caller, Deployment, InferRequest, InferResponse, Target

T = TypeVar("T")

_NO_PARAMETERS: Final[Mapping[str, Any]] = {}


class Way(msgspec.Struct, frozen=True):
    """Who answers a request, and for which variant of which experiment, if for one."""

    lease: Lease
    assignment: Assignment | None = None

    @property
    def deployment(self) -> Deployment:
        """Who answers it."""
        return self.lease.deployment


class DataPlane:
    """What every protocol calls."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._deadlines = Deadlines()
        self._shadows = Shadows(registry)

    def route(
        self,
        target: Target,
        caller: Caller | None,
        parameters: Mapping[str, Any] = _NO_PARAMETERS,
        able: Able | None = None,
    ) -> Way:
        """The way of a request, to be gone at once: with `infer` or `relay`, and nothing awaited before.

        `able` says whether an endpoint can do what is asked, where not every one can: see Registry.assign.

        Raises:
            ServingError: as `infer` does.
        """
        assignment = self._registry.assign(target, caller, parameters, able)
        if assignment is None:
            return Way(self._registry.lease(target))
        try:
            return Way(self._registry.lease(assignment.arm.arm.target), assignment)
        except BaseException as error:
            assignment.failed(error)
            raise

    async def infer(self, request: InferRequest, way: Way | None = None) -> InferResponse:
        """Run one request on the deployment that answers its target, or on the `way` that was found for it.

        Cancelling drops the request wherever it waits.

        Raises:
            ServingError: any of its subclasses; each protocol gives each its own code.
        """
        if way is None:
            way = self.route(request.target, request.caller, request.parameters)
        with way.lease as lease:
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
                _failed(way, began_ns, error)
                raise _late(way, timeout_s) from error
            except BaseException as error:
                _failed(way, began_ns, error)
                raise
            _succeeded(way, began_ns, signature.rows(request.inputs), outputs)
            if way.assignment is not None and (rule := way.assignment.shadow) is not None:
                self._shadows.offer(way.assignment.notes, rule, request.inputs, outputs)
            if request.outputs is not None:
                outputs = {name: outputs[name] for name in request.outputs}
            told = {} if way.assignment is None else way.assignment.parameters()
            return InferResponse(request.id, lease.deployment, lease.endpoint.runtime, outputs, told, way.assignment)

    async def relay(self, way: Way, act: Callable[[Servable], Awaitable[T]], timeout_ms: float | None = None) -> T:
        """Have a deployment do what only its kind of servable can, under its limits and deadline; counts one row.

        `way` comes from `route`, with nothing awaited since.

        Raises:
            ServingError: as `infer` does.
        """
        with way.lease as lease:
            began_ns = monotonic_ns()
            timeout_s = _timeout_s(lease, timeout_ms)
            urgency = Urgency(began_ns + int(timeout_s * 1e9))
            try:
                with Deadline(self._deadlines, timeout_s):
                    result = await lease.servable.let_through(act, urgency)
            except TimeoutError as error:
                _failed(way, began_ns, error)
                raise _late(way, timeout_s) from error
            except BaseException as error:
                _failed(way, began_ns, error)
                raise
            _succeeded(way, began_ns, 1, None)
            return result

    def admit(self, target: Target) -> None:
        """Refuse a request before its body is read, where its deployment would refuse even the most pressing one.

        Where an experiment runs, who answers may depend on the body.

        Raises:
            ServingError: as `infer` does.
        """
        if self._registry.is_split(target):
            return
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


def _succeeded(way: Way, began_ns: int, rows: int, outputs: Tensors | None) -> None:
    took_ns = monotonic_ns() - began_ns
    way.lease.statistics.succeeded(rows, took_ns)
    if way.assignment is not None:
        way.assignment.answered(took_ns, outputs)


def _failed(way: Way, began_ns: int, error: BaseException) -> None:
    way.lease.statistics.failed(monotonic_ns() - began_ns, error)
    if way.assignment is not None:
        way.assignment.failed(error)
    if isinstance(error, ServingError):
        _sign(way, error)


def _sign(way: Way, error: ServingError) -> None:
    """Have a failure say whose it is, as an answer does. It may be another request's, too: this is read at once."""
    served_by = ("torii-served-by", str(way.deployment))
    error.headers = (served_by,) if way.assignment is None else (served_by, *way.assignment.headers())


def _timeout_s(lease: Lease, asked_ms: float | None) -> float:
    limit_ms = lease.serving.limits.timeout_ms
    return (limit_ms if asked_ms is None else min(limit_ms, asked_ms)) / 1000


def _late(way: Way, timeout_s: float) -> DeadlineExceeded:
    late = DeadlineExceeded(f"{way.deployment} took longer than {timeout_s * 1000:g} ms")
    _sign(way, late)
    return late
