"""What the generator is told, and what it tells: messages of msgpack, each behind its length, over stdin and stdout."""

from __future__ import annotations

from typing import Literal

import msgspec

Arrival = Literal["closed", "poisson", "uniform"]
"""closed: each connection sends when it has its answer. Else open: requests are due at times that no answer moves."""


class Target(msgspec.Struct, frozen=True):
    """Where to send, and by which protocol."""

    host: str
    port: int
    protocol: Literal["http/1.1", "grpc"]


class Request(msgspec.Struct, frozen=True):
    """One request, made once and sent many times. gRPC: `path` is the method's, `body` the bare message."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """One load on one target.

    An answer counts as right if its status is good, it names the deployment that was expected (where one was), and
    `Probe`s of the same request were compared before the run: the generator does not read bodies.
    """

    target: Target
    requests: tuple[Request, ...]
    """Taken in turn."""

    arrival: Arrival = "closed"
    connections: int = 1
    """closed: how many at most; open: how many at most, beyond which what is due waits, and its waiting counts."""

    served_by: str = ""
    """What `torii-served-by` has to say; empty: anything, counted by what it says."""

    timeout_s: float = 30.0
    slice_s: float = 0.25
    seed: int = 1
    core: int | None = None
    """The core that the generator binds itself to."""


class Level(msgspec.Struct, frozen=True, tag="level"):
    """From now on so much: connections where arrivals are closed, else requests a second; 0 only awaits answers."""

    level: float


class End(msgspec.Struct, frozen=True, tag="end"):
    """Send nothing more, wait for what is under way (no longer than the timeout), tell the last slice, and end."""


Command = Level | End


class Answers(msgspec.Struct, frozen=True):
    """What one deployment answered within a slice. Histograms are HdrHistogram V2, compressed, in microseconds.

    They hold 1 µs to 1 h with 3 significant digits, as bytes, which `HdrHistogram.decode(b64encode(latency))` reads. A
    request belongs to the slice in which it ended.
    """

    succeeded: int
    latency: bytes
    """From the moment a request was due (open), or was sent (closed), to its answer's last byte."""

    service: bytes
    """From the moment it was sent. Beside the other, it shows what a closed loop would have hidden."""


class Slice(msgspec.Struct, frozen=True, tag="slice"):
    """What happened between two moments; seconds since the generator began."""

    begin_s: float
    end_s: float
    level: float
    sent: int
    answers: dict[str, Answers]
    """By what `torii-served-by` said; one key, empty, where it said nothing."""

    failures: dict[str, int]
    """Kinds and how often: `timeout`, `connection`, `status 503`, `gRPC 14`, `served by digits/2@tflite`, …"""

    first_failure: str
    """Text of the first failure of the slice: at most 300 characters of what the server said."""

    waiting: int
    """Due and not sent at the slice's end, all connections being busy."""

    under_way: int
    late_us: int
    """The most that the generator saw that a request was due after it was: its own fault, whatever servers do."""

    cpu: float
    """Share of a core, 0…1, that the generator itself used."""

    reopened: int = 0
    """Connections that were opened anew, the server having closed them between requests or with a good answer."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The generator's last message; `reason` is empty where it ended as told, else why it could not go on."""

    reason: str


Told = Slice | Ended
"""What the generator tells."""
