"""The nouns of the floor: artifact, endpoint, and the four roles that make a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

from adapters.tensors import Signature, Tensor, Tensors

RUNTIMES_OWN = ("onnxruntime", "tflite")
"""Backends whose models run in Torii's own worker processes."""

BACKENDS = (*RUNTIMES_OWN, "tfserving", "torchserve")
"""Every plain backend, in the order in which an unpinned request prefers them."""


def plain_backend(backend: str) -> str:
    """What executes a backend's artifacts: itself, or of a variant (`tflite-int8`) the backend before the dash."""
    return backend.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Batching:
    """How a deployment's calls are put together.

    `max_rows` is the largest batch, None where trial runs shall tell whether there is a batch axis at all, and 1 for no
    batching. A batch waits for more rows for `max_delay_ms` at most. Under `latency_target_ms` the limit of rows adapts
    by itself. `allowed_rows` are the sizes, ascending, that batches are filled up to; none are all sizes.
    """

    max_rows: int | None = None
    max_delay_ms: float = 0.0
    latency_target_ms: float | None = None
    allowed_rows: tuple[int, ...] = ()


_AS_IT_COMES = Batching()


class Urgency(msgspec.Struct, frozen=True):
    """How much a request presses.

    `deadline_ns` is when nobody waits for the answer any more, by the machine's monotonic clock; 0 is never. Of those
    that wait, the lowest `priority` is served first, from 1 to LOWEST_PRIORITY; equals in order of arrival.
    """

    deadline_ns: int = 0
    priority: int = 5


LOWEST_PRIORITY = 9
ROUTINE = Urgency()


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version's weights in the format of one backend, or of a variant of it: what an adapter loads.

    `options` are the backend's own, from model.toml; `declared` is the signature written there, for formats that
    do not carry one; `golden` is a file of real inputs and outputs (arrays `inputs/<name>`, `outputs/<name>`). Nobody
    waits for an answer for longer than `timeout_ms`.
    """

    model: str
    version: int
    backend: str
    path: Path
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)
    golden: Path | None = None
    declared: Signature | None = None
    batching: Batching = _AS_IT_COMES
    timeout_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.model}/{self.version}@{self.backend}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a loaded deployment answers: plain data that can cross a process border.

    `runtime` names what executes it, with its version: "onnxruntime 1.32.0"; `pid` is the process that holds the
    model, where it is on this machine; `remote` is what the backend's client needs besides the address.
    """

    backend: str
    address: str
    signature: Signature
    runtime: str
    pid: int | None = None
    remote: Mapping[str, str] = field(default_factory=dict)


class Session(Protocol):
    """A loaded model inside a worker process. Calls come one at a time."""

    signature: Signature

    def run(self, inputs: Tensors) -> dict[str, Tensor]:
        """Run the model on inputs that fit the signature; any exception is the model's failure."""
        ...


@runtime_checkable
class SharedSession(Session, Protocol):
    """A Session that several threads can use, each a share of its own; any other is loaded once for each thread."""

    def share(self) -> Session:
        """A session over the same weights, for another thread to run at the same time: itself, where that may be."""
        ...


class Runtime(Protocol):
    """Synchronous, inside a worker: all that a local backend has to write."""

    def describe(self) -> str:
        """Name and version of what executes the model: 'onnxruntime 1.32.0'."""
        ...

    def load(self, path: Path, options: Mapping[str, Any]) -> Session:
        """Load an artifact.

        Raises:
            LoadFailed: the artifact is not a model that this runtime can execute.
        """
        ...


OnDeath: TypeAlias = Callable[[Endpoint, str], None]
"""Told by an adapter when an endpoint that it made died by itself, with the reason."""


class Adapter(Protocol):
    """Control side of a backend: makes endpoints out of artifacts, and owns the processes behind them."""

    backend: str

    def missing(self) -> str | None:
        """What has to be installed before this backend can load anything, and how; None where all is there."""
        ...

    async def load(self, artifact: Artifact) -> Endpoint:
        """Load an artifact and answer where it can be reached, once it can.

        Raises:
            LoadFailed: the artifact is at fault.
            BackendUnavailable: the backend is at fault; the same load may succeed later.
        """
        ...

    async def unload(self, endpoint: Endpoint) -> None:
        """Unload; called once nothing uses the endpoint any more. An endpoint that is gone already is no error."""
        ...

    async def close(self) -> None:
        """Stop every process that this adapter started."""
        ...


@runtime_checkable
class Scalable(Protocol):
    """An Adapter whose endpoints have as many processes as one asks for."""

    async def scale(self, endpoint: Endpoint, minimum: int, maximum: int) -> None:
        """Have an endpoint keep so many processes; does not wait for them.

        Raises:
            BackendUnavailable: the backend is not there.
            LoadFailed: the backend refused.
        """
        ...

    async def workers(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """What the backend says of an endpoint and its processes, in its own words; raises BackendUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a model's own code answered over HTTP: `headers` as they came, names as they came."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Servable(Protocol):
    """Data side of a backend: a connection to an endpoint, which can infer."""

    signature: Signature

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """Run the model. Cancelling drops the request wherever it waits; what is past its deadline is not run.

        Raises:
            InferenceFailed: the model failed on these inputs.
            BackendUnavailable: the endpoint died or cannot be reached.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection; requests that still wait fail with BackendUnavailable."""
        ...


@runtime_checkable
class RawServable(Protocol):
    """A Servable whose model has code of its own, which takes and gives whole HTTP bodies."""

    async def exchange(self, body: bytes, headers: Mapping[str, str], *, explain: bool = False) -> RawAnswer:
        """Give the model a body with its headers, and take its answer, refusals included.

        Raises:
            InvalidInput: the body is larger than the backend takes.
            BackendUnavailable: the endpoint is gone or cannot be reached: its code was not asked.
            InferenceFailed: what came back is no answer that could be passed on.
        """
        ...
