"""Nouns of the gateway: deployment, target, request, response, and a deployment's state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from adapters.base import ROUTINE, Batching, plain_backend
from adapters.errors import InvalidInput
from adapters.tensors import Tensors

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SEGMENT = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,63}))?")
_DEPLOYMENT = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})/([1-9][0-9]{0,17})@([a-z0-9][a-z0-9._-]{0,63})")
_VERSION = re.compile(r"[0-9]{1,18}")


class Deployment(msgspec.Struct, frozen=True, order=True, gc=False):
    """A version of a model on a backend, or a variant of one: the unit that is loaded, measured and compared."""

    model: str
    version: int
    backend: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}@{self.backend}"

    @property
    def executor(self) -> str:
        """The plain backend whose adapter loads it."""
        return plain_backend(self.backend)

    @classmethod
    def parse(cls, text: str) -> Deployment:
        """The inverse of `str`; raises InvalidInput."""
        match = _DEPLOYMENT.fullmatch(text)
        if not match:
            raise InvalidInput(f"{text!r:.80} is no deployment; expected MODEL/VERSION@BACKEND, as in digits/2@tflite")
        return cls(match[1], int(match[2]), match[3])


class Target(msgspec.Struct, frozen=True, gc=False):
    """Whom a request asks for. What it leaves open (None), routing decides."""

    model: str
    version: int | None = None
    label: str | None = None
    backend: str | None = None

    @classmethod
    def parse(cls, segment: str, version: str | None = None, label: str | None = None) -> Target:
        """A target from a URL's model segment (`digits`, `digits@tflite`), decoded once, and its version or label.

        Raises:
            InvalidInput: a part is not of its form.
        """
        match = _SEGMENT.fullmatch(segment)
        if not match:
            raise InvalidInput(
                f"model {segment!r:.80}: expected a name of a-z 0-9 . _ - (64 at most, beginning with a letter or "
                "digit), then @BACKEND if wanted"
            )
        if version is not None and not (_VERSION.fullmatch(version) and int(version)):
            raise InvalidInput(f"version {version!r:.40}: expected a positive integer")
        return cls(match[1], int(version) if version else None, label, match[2])


class State(StrEnum):
    """A deployment's life; it only moves forward, and a reload begins a new life."""

    FOUND = "FOUND"
    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    UNLOADED = "UNLOADED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment's state as callers are told of it."""

    state: State
    reason: str = ""


SLOTS: Final = 1_000_000
"""Into which the units of an experiment are hashed: a slot is a ten-thousandth of a percent."""


BY_CHANCE: Final = 1 << 63
"""Set in the number of a request that has no unit: it is one by itself, and never comes again."""


class Arm(msgspec.Struct, frozen=True):
    """A variant of a running experiment, and who answers its requests."""

    name: str
    target: Target


class ShadowRule(msgspec.Struct, frozen=True):
    """Which part of an experiment's requests (0..1) is copied, and to whom; see experiments.definition.Shadow."""

    target: Target
    share: float
    tolerance: float
    busy: float = 0.0025
    """The part of the time, up to 1, that copies may take."""


class TrafficSplit(msgspec.Struct, frozen=True):
    """A running experiment, as far as requests are concerned: plain data.

    Slots below `slots[0][0]` belong to the arm `slots[0][1]`, by its index, and so on; the last end is SLOTS. `units`
    are the sources of the unit, as (`header` | `parameter` | `cookie`, name); `headers` and `parameters` are what a
    request must have to take part; `testers` are units that always get an arm, by its index. `run` and `epoch` are what
    evidence is kept under. `token_key` is empty where no outcomes are awaited.
    """

    experiment: str
    run: int
    epoch: int
    salt: str
    arms: tuple[Arm, ...]
    slots: tuple[tuple[int, int], ...]
    units: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = {}
    parameters: Mapping[str, str | int | float | bool] = {}
    testers: Mapping[str, int] = {}
    overrides: bool = False
    token_key: bytes = b""
    shadow: ShadowRule | None = None


_LEAVING = (State.DRAINING, State.UNLOADED)


@dataclass(frozen=True, slots=True)
class ModelTable:
    """All that routing knows of one model: plain data, replaced as a whole when anything changes.

    `backends` is the order of preference for requests that pin none: what it does not name answers these where its
    version has nothing else; `splits` are its running experiments, of which at
    most one is for any request.
    """

    name: str
    backends: tuple[str, ...]
    labels: Mapping[str, int]
    standings: Mapping[Deployment, Standing]
    splits: tuple[TrafficSplit, ...] = ()

    def versions(self) -> list[int]:
        """Version numbers that are there in any state, oldest first."""
        return sorted({deployment.version for deployment in self.standings})

    def on(self, backend: str | None) -> list[Deployment]:
        """The deployments on a backend; None: those that may answer requests which pin none."""
        if backend is not None:
            return [each for each in self.standings if each.backend == backend]
        staying = (each for each, standing in self.standings.items() if standing.state not in _LEAVING)
        named = {each.version for each in staying if each.backend in self.backends}
        return [each for each in self.standings if each.backend in self.backends or each.version not in named]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one deployment takes at once, and for how long a request may run."""

    max_in_flight: int = 256
    max_queue: int = 1024
    timeout_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Caching:
    """Which answers a deployment gives without running its model.

    `max_bytes` is what may be kept of earlier answers, 0 none; with `join`, equal requests in flight share one run.
    """

    max_bytes: int = 0
    join: bool = False


_AS_IT_COMES = Batching()


@dataclass(frozen=True, slots=True)
class Serving:
    """All that a frontend has to know of a deployment besides its endpoint: plain data.

    `digest` is of the artifact's files, and its backend's options: what it answered before holds while it is the same.
    """

    limits: Limits = Limits()
    batching: Batching = _AS_IT_COMES
    caching: Caching = Caching()
    digest: str = ""


class Caller(Protocol):
    """What came beside a request's body."""

    def header(self, name: str) -> bytes | None:
        """A header, or over gRPC an entry of the metadata, by its name in lower case."""
        ...


class InferRequest(msgspec.Struct, frozen=True):
    """One request, whatever protocol it came by.

    `outputs` are the names that the caller wants, None for all; `timeout_ms` is the caller's, None for the model's;
    `priority` is as in Urgency.
    """

    target: Target
    inputs: Tensors
    id: str | None = None
    outputs: tuple[str, ...] | None = None
    timeout_ms: float | None = None
    parameters: Mapping[str, Any] = {}
    priority: int = ROUTINE.priority
    caller: Caller | None = None


class Assigned(Protocol):
    """The variant of an experiment that a request was assigned to."""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What its caller is told: torii-experiment, torii-variant, and torii-request-id where outcomes are awaited."""
        ...

    def lines(self) -> bytes:
        """The same as lines of an HTTP head."""
        ...


class InferResponse(msgspec.Struct, frozen=True):
    """The answer, and who gave it."""

    id: str | None
    deployment: Deployment
    runtime: str
    outputs: Tensors
    parameters: Mapping[str, str] = {}
    assigned: Assigned | None = None
