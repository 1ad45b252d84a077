"""Scenarios: what is to be measured, as a TOML file says it and the command line changes it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from loadtests.gateways import CONTROL, GRPC_PORT, URL

FOLDER: Final = Path(__file__).with_name("scenarios")
AS_SERVED: Final = "as served"
ALL_THERE_IS: Final = "all that this machine offers"

DialectName = Literal["v2-json", "v2-binary", "v2-grpc", "tfs-rest", "tfs-grpc", "torchserve"]
Positive = Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Connections = Annotated[int, Field(ge=1, le=65_536, strict=True)]
Percentile = Annotated[float, Field(gt=0, lt=100)]

_MODEL = r"[a-z0-9][a-z0-9._-]{0,63}"
_DEPLOYMENT = re.compile(rf"{_MODEL}(/[1-9][0-9]{{0,17}})?(@[a-z][a-z0-9-]*)?")
_ALL_OF = re.compile(rf"all of {_MODEL}(/[1-9][0-9]{{0,17}})?")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class BadScenario(Exception):
    """A scenario cannot be used; the text names file, key, what was expected and what was found."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewayTable(_Strict):
    """[gateway]: one that runs at `url`, or one that is started over a copy of `repository`."""

    url: str = Field(URL, description="the inference API of a gateway that runs")
    control: str = Field(CONTROL, description="its control API")
    grpc_port: int = Field(GRPC_PORT, ge=1, le=65535, description="its port for gRPC")
    repository: Path | None = Field(None, description="start a gateway over a copy of this folder instead")
    models: tuple[str, ...] = Field((), description="which models of it; without any, those that deployments name")
    settings: dict[str, Any] = Field({}, description="of the gateway that is started, as poll_s = 0.2")
    model: dict[str, Any] = Field({}, description="what the model.toml of its models gets on top")


class CoresTable(_Strict):
    """[cores]: what is bound to which core; -1 binds nothing."""

    gateway: Annotated[int, Field(ge=-1)] | None = Field(None, description="core of a gateway that is started")
    generator: Annotated[int, Field(ge=-1)] | None = Field(None, description="core of the generator")


class PricesTable(_Strict):
    """[prices]: what a core costs."""

    core_hour: Annotated[float, Field(ge=0)] = Field(0.0, description="price of a core for an hour; 0: not said")
    currency: str = "USD"


class ExperimentTable(_Strict):
    """[experiment]: the A/B split; shares in percent, by the deployment that gets them."""

    shares: dict[str, Annotated[float, Field(gt=0, lt=100)]] = Field(min_length=2)

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        if abs(sum(shares.values()) - 100) > 1e-6:
            raise ValueError(f"expected shares that sum to 100, and they sum to {sum(shares.values()):g}")
        return shares


class ShapeTable(_Strict):
    """[shape]: how the load changes with time; levels are connections (closed) or requests/s."""

    kind: Literal["constant", "steps", "ramp", "spike", "soak"] = "constant"
    low: Positive = Field(10, description="the first level; of a spike: the one before and after it")
    high: Positive = Field(100, description="the last level; of a spike: its own")
    steps: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="how many levels, for steps and ramp")


def _deployments(value: object) -> object:
    if isinstance(value, str) and _ALL_OF.fullmatch(value):
        return value
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"expected names of deployments, or a text as 'all of digits/1'; got {value!r}")
    for each in value:
        if not isinstance(each, str) or not _DEPLOYMENT.fullmatch(each):
            raise ValueError(f"expected MODEL, MODEL/VERSION, MODEL@BACKEND or MODEL/VERSION@BACKEND; got {each!r}")
    return tuple(value)


def _hardware(value: object) -> object:
    if value in {AS_SERVED, ALL_THERE_IS}:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError(f"expected {AS_SERVED!r}, {ALL_THERE_IS!r}, or a list of names, as ['CPU, 1 thread']")


class _Scenario(_Strict):
    """What every scenario has."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    starts_gateways: ClassVar[bool] = False
    """Whether it changes the repository or the processes, which a gateway of others has to be spared."""

    name: str
    description: str = ""
    deployments: Annotated[str | tuple[str, ...], BeforeValidator(_deployments)]
    dialects: tuple[DialectName, ...] = Field(("v2-json",), min_length=1)
    payload: str = "digits"
    hardware: Annotated[str | tuple[str, ...], BeforeValidator(_hardware)] = AS_SERVED
    rounds: Annotated[int, Field(ge=1, le=1000, strict=True)] = 5
    seconds: Seconds = 6.0
    warm_up_s: Annotated[float, Field(ge=0, le=3600)] = 1.0
    timeout_s: Seconds = 30.0
    tolerance: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01, description="largest difference from the reference's outputs, as a share of their range"
    )
    gateway: GatewayTable = GatewayTable()
    cores: CoresTable = CoresTable()
    prices: PricesTable = PricesTable()

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("expected lower case letters, digits and hyphens: it becomes a file's name")
        return name

    @model_validator(mode="after")
    def _has_its_gateway(self) -> Self:
        if self.gateway.repository is None and self.starts_gateways:
            raise ValueError(
                "gateway.repository: expected a folder of models, since this kind changes the gateway; "
                "--repository model_repo says one"
            )
        if self.gateway.repository is None and self.hardware != AS_SERVED:
            raise ValueError(
                "hardware: expected 'as served' for a gateway that runs already; others need one that is started: "
                "--repository model_repo, or repository in [gateway]"
            )
        return self


class SingleStream(_Scenario):
    """The next query when the last is answered."""

    kind: Literal["single-stream"]
    percentile: Percentile = 90.0


class MultiStream(_Scenario):
    """Queries of several samples; the next when the last is answered."""

    kind: Literal["multi-stream"]
    percentile: Percentile = 99.0
    samples: Annotated[int, Field(ge=1, le=65_536, strict=True)] = 8


class Bound(_Strict):
    """[bound]: so much of the answers has to come in so much time; and how the highest rate for it is looked for."""

    percentile: Percentile = 99.0
    latency_ms: Positive = 20.0
    first_rate: Positive = Field(100.0, description="requests/s that the search begins with")
    precision: Annotated[float, Field(gt=0.001, le=1)] = Field(0.05, description="where the search ends")
    search_s: Seconds = Field(3.0, description="for one rate that is tried")
    connections: Connections = 256


class Server(_Scenario):
    """Poisson arrivals: the highest rate that keeps a percentile under a bound."""

    kind: Literal["server"]
    bound: Bound = Bound()


class Offline(_Scenario):
    """All samples are there from the beginning: samples/s."""

    kind: Literal["offline"]
    samples_per_request: Annotated[int, Field(ge=1, le=65_536, strict=True)] = 32
    connections: Connections = 16


class Load(_Scenario):
    """A load of a given shape."""

    kind: Literal["load"]
    arrival: Literal["closed", "poisson", "uniform"] = "closed"
    levels: tuple[Positive, ...] = Field(
        (8,), description="of a constant shape: connections, or requests/s", min_length=1
    )
    connections: Connections = Field(256, description="of open arrivals: under way at most")
    shape: ShapeTable = ShapeTable()
    breaking_ms: Positive = Field(1000.0, description="a ramp has broken where p99 is above this, or 1 % fails")


class Frameworks(_Scenario):
    """All deployments of a version, closed at several levels and open at one rate."""

    kind: Literal["frameworks"]
    levels: tuple[Connections, ...] = Field((1, 8, 32), min_length=1)
    rate: Annotated[float, Field(ge=0, le=1e7)] = Field(100.0, description="requests/s of the open loop; 0: none")
    connections: Connections = Field(256, description="of the open loop: under way at most")


class AbSplit(_Scenario):
    """An experiment runs: who answers, how often, how fast."""

    kind: Literal["ab-split"]
    starts_gateways: ClassVar[bool] = True
    rate: Positive = 200.0
    connections: Connections = 256
    experiment: ExperimentTable


class RollingUpdate(_Scenario):
    """A version is published in the middle of constant traffic."""

    kind: Literal["rolling-update"]
    starts_gateways: ClassVar[bool] = True
    rate: Positive = 200.0
    connections: Connections = 256
    publish: Annotated[int, Field(ge=1, strict=True)] = Field(2, description="the version that is published")


class Overload(_Scenario):
    """More than the gateway can serve: how much is still answered in time, and how the rest is refused."""

    kind: Literal["overload"]
    factor: Annotated[float, Field(gt=1, le=100)] = Field(2.0, description="of the highest rate")
    connections: Connections = Field(2048, description="under way at most: enough for the gateway to have to refuse")
    bound: Bound = Bound()


class ColdStart(_Scenario):
    """From `torii serve`, and from a version's publishing, to the first right answer."""

    kind: Literal["cold-start"]
    starts_gateways: ClassVar[bool] = True
    times: Annotated[int, Field(ge=1, le=100, strict=True)] = 6


Scenario: TypeAlias = (
    SingleStream | MultiStream | Server | Offline | Load | Frameworks | AbSplit | RollingUpdate | Overload | ColdStart
)

_CLASSES: Final[tuple[type[_Scenario], ...]] = (
    SingleStream, MultiStream, Server, Offline, Load, Frameworks, AbSplit, RollingUpdate, Overload, ColdStart,
)  # fmt: skip
KINDS: Final = {each.model_fields["kind"].annotation.__args__[0]: each for each in _CLASSES}  # type: ignore[union-attr]


def names() -> list[str]:
    """The scenarios that come with Torii."""
    return sorted(each.stem for each in FOLDER.glob("*.toml"))


def read(wanted: str, changes: Mapping[str, Any] | None = None, quick: bool = False) -> Scenario:
    """A scenario by its name or its file, with the table [quick] where it is to be quick, and `changes` on top.

    Raises:
        BadScenario: there is none, it is not TOML, or a key or value of it is wrong.
    """
    file = Path(wanted) if wanted.endswith(".toml") else FOLDER / f"{wanted}.toml"
    try:
        table = tomllib.loads(file.read_text())
    except OSError:
        raise BadScenario(
            f"{wanted}: expected a .toml file, or one of {', '.join(names())}; nothing is at {file.name}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadScenario(f"{file}: not TOML: {error}") from None
    quicker = table.pop("quick", {})
    if not isinstance(quicker, dict):
        raise BadScenario(f"{file}: quick: expected a table of keys that a quick run has otherwise; got {quicker!r}")
    layers = [{"name": file.stem}, table, *([quicker] if quick else []), changes or {}]
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer)
    return _checked(merged, file)


def _checked(table: Mapping[str, Any], file: Path) -> Scenario:
    kind = KINDS.get(str(table.get("kind")))
    if kind is None:
        raise BadScenario(f"{file}: kind: expected one of {', '.join(KINDS)}; got {table.get('kind')!r}")
    try:
        return kind.model_validate(dict(table))  # type: ignore[return-value]
    except ValidationError as error:
        raise BadScenario("\n".join(_explained(file, each, kind) for each in error.errors())) from None


def _explained(file: Path, error: Any, kind: type[_Scenario]) -> str:
    key = ".".join(str(each) for each in error["loc"]) or "scenario"
    if error["type"] == "extra_forbidden":
        known = ", ".join(sorted(_fields(kind, error["loc"][:-1])))
        return f"{file}: {key}: unknown key; expected one of {known}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{file}: {key}: expected a value, and there is none"
    got = "" if "got" in message or not error["loc"] else f"; got {error['input']!r:.100}"
    return f"{file}: {key}: {message}{got}" if error["loc"] else f"{file}: {message}"


def _fields(kind: type[BaseModel], where: tuple[Any, ...]) -> list[str]:
    for each in where:
        inner = kind.model_fields[each].annotation if each in kind.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        kind = inner
    return list(kind.model_fields)


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value
