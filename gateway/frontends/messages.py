"""What control and a frontend say to each other: plain data, as MessagePack."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from adapters.base import Endpoint
from gateway.experiments.recording import Increment
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment, ModelTable, Serving


class _Act(msgspec.Struct, array_like=True, tag=True):
    """Something that one end asks of the other."""


class Show(_Act):
    """Control: put these tables in the place of those of their names, and forget the models that are gone.

    `settled` is whether all that was there at the gateway's start has been taken care of.
    """

    tables: dict[str, ModelTable]
    gone: list[str]
    settled: bool


class Publish(_Act):
    """Control: connect to an endpoint, and send it its deployment's requests."""

    deployment: Deployment
    endpoint: Endpoint
    serving: Serving


class Withdraw(_Act):
    """Control: send an endpoint nothing more, and answer once it is drained."""

    deployment: Deployment
    endpoint: Endpoint


class Report(_Act):
    """Control: what have you done? The answer is a `Told`."""


class Collect(_Act):
    """Control: what have you noted of experiments? The answer is a list of increments."""


class Accept(_Act):
    """Control: take connections from these of the listening sockets, by number, and from no others."""

    sockets: list[int]


class Refuse(_Act):
    """Control: say that you are not ready, and take no new connections over HTTP."""


class Drain(_Act):
    """Control: take no new requests, and answer once those that run are answered."""


class Hello(_Act):
    """A frontend: here I am."""


class Log(_Act):
    """A frontend: a record for the log, with logging's number of its level; `traceback` is empty for most."""

    level: int
    logger: str
    text: str
    traceback: str


class Index(_Act):
    """A frontend: see ModelAccess.index."""

    ready_only: bool


class Load(_Act):
    """A frontend: see ModelAccess.load."""

    model: str
    version: int | None
    overrides: dict[str, Any] | None


class Unload(_Act):
    """A frontend: see ModelAccess.unload."""

    model: str
    version: int | None


class Evidence(_Act):
    """A frontend: what was noted of experiments since the last time. It wants no answer."""

    increments: list[Increment]


class TellStatistics(_Act):
    """A frontend: see ModelAccess.statistics. The answer is a `Told`."""


Told: TypeAlias = list[tuple[Deployment, StatisticsSnapshot]]
"""What deployments have done."""

Order: TypeAlias = Show | Publish | Withdraw | Report | Collect | Accept | Refuse | Drain
Question: TypeAlias = Hello | Log | Evidence | Index | Load | Unload | TellStatistics
Act: TypeAlias = Order | Question


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One end asks the other; with number 0 it wants no answer."""

    number: int
    act: Act


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """It was done."""

    number: int
    value: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """It could not be done: `kind` is the name of a ServingError, or empty where nobody foresaw it."""

    number: int
    kind: str
    text: str


Frame: TypeAlias = Ask | Answer | Failed
