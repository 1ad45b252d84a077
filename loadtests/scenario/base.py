"""What every scenario has, of whatever kind."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from loadtests.scenario.tables import CoresTable, GatewayTable, PricesTable, Seconds, Strict

AS_SERVED: Final = "as served"
ALL_THERE_IS: Final = "all that this machine offers"

DialectName = Literal["v2-json", "v2-binary", "v2-grpc", "tfs-rest", "tfs-grpc", "torchserve"]

_MODEL = r"[a-z0-9][a-z0-9._-]{0,63}"
_DEPLOYMENT = re.compile(rf"{_MODEL}(/[1-9][0-9]{{0,17}})?(@[a-z][a-z0-9-]*)?")
_ALL_OF = re.compile(rf"all of {_MODEL}(/[1-9][0-9]{{0,17}})?")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


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
    if value in (AS_SERVED, ALL_THERE_IS):  # a list is no member of a set
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError(f"expected {AS_SERVED!r}, {ALL_THERE_IS!r}, or a list of names, as ['CPU, 1 thread']")


class Base(Strict):
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
