"""What a worker and its parent say to each other at the start: one line of JSON each way."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.base import Batching
from adapters.tensors import Signature


class Job(msgspec.Struct):
    """What the parent wants loaded.

    `runtime` is "module:Class"; trial runs tell what `batching` leaves open; the option `instances` is how many batches
    run at once. A run longer than `run_limit_s` ends the worker; None is no limit.
    """

    runtime: str
    path: str
    socket: str
    options: dict[str, Any]
    golden: str | None
    batching: Batching
    run_limit_s: float | None = None


class Ready(msgspec.Struct, tag=True):
    """The model is loaded and the socket listens."""

    signature: Signature
    runtime: str
    max_rows: int
    instances: int


class Refused(msgspec.Struct, tag=True):
    """The artifact is no model that the runtime can execute; the worker exits."""

    reason: str
