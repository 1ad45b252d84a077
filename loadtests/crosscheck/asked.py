"""What every tool of a scenario is asked to send, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from loadtests.engine.plan import Request, Target


@dataclass(frozen=True, slots=True)
class Load:
    """How a deployment is asked."""

    dialect: str
    """A name of `loadtests.dialects`."""

    connections: int
    rate: float | None = None
    """Requests/s; None: a connection sends when it has its answer."""

    rows: int = 1
    """Samples of a request."""

    arrival: Literal["poisson", "uniform"] = "poisson"
    """How they arrive where there is a rate."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A load on one deployment of one gateway."""

    load: Load
    deployment: str
    """`digits/1@onnxruntime`."""

    target: Target
    request: Request
    inputs: Mapping[str, NDArray[Any]]
    """What `request` holds: each [rows, …]."""

    core: int
    """The core that is the tool's."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One tool's time to measure."""

    asked: Asked
    seconds: float
    expected: float
    """About how many samples/s there will be: for tools that plan how many to send."""

    folder: Path
    """Empty, for its files."""


def http_request(asked: Asked) -> bytes:
    """The request as HTTP/1.1 has it on the wire."""
    lines = [
        f"POST {asked.request.path} HTTP/1.1",
        f"Host: {asked.target.host}:{asked.target.port}",
        f"Content-Length: {len(asked.request.body)}",
        *(f"{name}: {value}" for name, value in asked.request.headers),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + asked.request.body


def url(asked: Asked) -> str:
    """Where the request goes."""
    return f"http://{asked.target.host}:{asked.target.port}{asked.request.path}"
