"""What a worker and its parent say to each other at the start: one line of JSON each way."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.base import Batching
from adapters.tensors import Signature


class Job(msgspec.Struct):
    """What the parent wants loaded. `runtime` is "module:Class"; its tests tell what `batching` leaves open."""

    runtime: str
    path: str
    socket: str
    options: dict[str, Any]
    golden: str | None
    batching: Batching


class Ready(msgspec.Struct, tag=True):
    """The model is loaded and the socket listens."""

    signature: Signature
    runtime: str
    max_rows: int


class Refused(msgspec.Struct, tag=True):
    """The artifact is no model that the runtime can execute; the worker exits."""

    reason: str
