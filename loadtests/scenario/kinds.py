"""The kinds of scenarios, and what each of them asks beside what all have."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from loadtests.scenario.base import Base
from loadtests.scenario.tables import Bound, Connections, ExperimentTable, Percentile, Positive, ShapeTable


class SingleStream(Base):
    """The next query when the last is answered."""

    kind: Literal["single-stream"]
    percentile: Percentile = 90.0


class MultiStream(Base):
    """Queries of several samples; the next when the last is answered."""

    kind: Literal["multi-stream"]
    percentile: Percentile = 99.0
    samples: Annotated[int, Field(ge=1, le=65_536, strict=True)] = 8


class Server(Base):
    """Poisson arrivals: the highest rate that keeps a percentile under a bound."""

    kind: Literal["server"]
    bound: Bound = Bound()


class Offline(Base):
    """All samples are there from the beginning: samples/s."""

    kind: Literal["offline"]
    samples_per_request: Annotated[int, Field(ge=1, le=65_536, strict=True)] = 32
    connections: Connections = 16


class Load(Base):
    """A load of a given shape."""

    kind: Literal["load"]
    arrival: Literal["closed", "poisson", "uniform"] = "closed"
    levels: tuple[Positive, ...] = Field(
        (8,), description="of a constant shape: connections, or requests/s", min_length=1
    )
    connections: Connections = Field(256, description="of open arrivals: under way at most")
    shape: ShapeTable = ShapeTable()
    breaking_ms: Positive = Field(1000.0, description="a ramp has broken where p99 is above this, or 1 % fails")


class Frameworks(Base):
    """All deployments of a version, closed at several levels and open at one rate."""

    kind: Literal["frameworks"]
    levels: tuple[Connections, ...] = Field((1, 8, 32), min_length=1)
    rate: Annotated[float, Field(ge=0, le=1e7)] = Field(100.0, description="requests/s of the open loop; 0: none")
    connections: Connections = Field(256, description="of the open loop: under way at most")


class AbSplit(Base):
    """An experiment runs: who answers, how often, how fast."""

    kind: Literal["ab-split"]
    starts_gateways: ClassVar[bool] = True
    rate: Positive = 200.0
    connections: Connections = 256
    experiment: ExperimentTable


class RollingUpdate(Base):
    """A version is published in the middle of constant traffic."""

    kind: Literal["rolling-update"]
    starts_gateways: ClassVar[bool] = True
    rate: Positive = 200.0
    connections: Connections = 256
    publish: Annotated[int, Field(ge=1, strict=True)] = Field(2, description="the version that is published")


class Overload(Base):
    """More than the gateway can serve: how much is still answered in time, and how the rest is refused."""

    kind: Literal["overload"]
    factor: Annotated[float, Field(gt=1, le=100)] = Field(2.0, description="of the highest rate")
    connections: Connections = Field(2048, description="under way at most: enough for the gateway to have to refuse")
    bound: Bound = Bound()


class ColdStart(Base):
    """From `torii serve`, and from a version's publishing, to the first right answer."""

    kind: Literal["cold-start"]
    starts_gateways: ClassVar[bool] = True
    times: Annotated[int, Field(ge=1, le=100, strict=True)] = 6


Scenario: TypeAlias = (
    SingleStream | MultiStream | Server | Offline | Load | Frameworks | AbSplit | RollingUpdate | Overload | ColdStart
)

_CLASSES: Final[tuple[type[Base], ...]] = (
    SingleStream, MultiStream, Server, Offline, Load, Frameworks, AbSplit, RollingUpdate, Overload, ColdStart,
)  # fmt: skip
KINDS: Final = {each.model_fields["kind"].annotation.__args__[0]: each for each in _CLASSES}  # type: ignore[union-attr]
