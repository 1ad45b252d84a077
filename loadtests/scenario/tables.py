"""The tables of a scenario, and the kinds of numbers that are in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from loadtests.gateways import CONTROL, GRPC_PORT, URL

Positive = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Connections = Annotated[int, Field(ge=1, le=65_536, strict=True)]
Percentile = Annotated[float, Field(gt=0, lt=100)]


class Strict(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewayTable(Strict):
    """[gateway]: one that runs at `url`, or one that is started over a copy of `repository`."""

    url: str = Field(URL, description="the inference API of a gateway that runs")
    control: str = Field(CONTROL, description="its control API")
    grpc_port: int = Field(GRPC_PORT, ge=1, le=65535, description="its port for gRPC")
    repository: Path | None = Field(None, description="start a gateway over a copy of this folder instead")
    models: tuple[str, ...] = Field((), description="which models of it; without any, those that deployments name")
    settings: dict[str, Any] = Field({}, description="of the gateway that is started, as poll_s = 0.2")
    model: dict[str, Any] = Field({}, description="what the model.toml of its models gets on top")


class CoresTable(Strict):
    """[cores]: what is bound to which core; -1 binds nothing."""

    gateway: Annotated[int, Field(ge=-1)] | None = Field(None, description="core of a gateway that is started")
    generator: Annotated[int, Field(ge=-1)] | None = Field(None, description="core of the generator")


class PricesTable(Strict):
    """[prices]: what a core costs."""

    core_hour: Annotated[float, Field(ge=0)] = Field(0.0, description="price of a core for an hour; 0: not said")
    currency: str = "USD"


class ExperimentTable(Strict):
    """[experiment]: the A/B split; shares in percent, by the deployment that gets them."""

    shares: dict[str, Annotated[float, Field(gt=0, lt=100)]] = Field(min_length=2)

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        if abs(sum(shares.values()) - 100) > 1e-6:
            raise ValueError(f"expected shares that sum to 100, and they sum to {sum(shares.values()):g}")
        return shares


class ShapeTable(Strict):
    """[shape]: how the load changes with time; levels are connections (closed) or requests/s."""

    kind: Literal["constant", "steps", "ramp", "spike", "soak"] = "constant"
    low: Positive = Field(10, description="the first level; of a spike: the one before and after it")
    high: Positive = Field(100, description="the last level; of a spike: its own")
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="how many levels, for steps and ramp")


class Bound(Strict):
    """[bound]: so much of the answers has to come in so much time; and how the highest rate for it is looked for."""

    percentile: Percentile = 99.0
    latency_ms: Positive = 20.0
    first_rate: Positive = Field(100.0, description="requests/s that the search begins with")
    precision: Annotated[float, Field(gt=0.001, le=1)] = Field(0.05, description="where the search ends")
    search_s: Seconds = Field(3.0, description="for one rate that is tried")
    connections: Connections = 256
