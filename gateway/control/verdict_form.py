"""A verdict on which backend should serve a version, as `torii compare` writes it: checked before it is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from adapters.errors import InvalidInput

SCHEMA: Final = 1
MOST_BYTES: Final = 1 << 18
_MISTAKES_SHOWN: Final = 3

Name = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Texts = Annotated[tuple[Text, ...], Field(max_length=32)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Strict):
    """A figure with its interval at 95 %."""

    value: Number
    low: Number
    high: Number

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"expected low <= value <= high, got {self.low:g}, {self.value:g}, {self.high:g}")
        return self


class Agreement(_Strict):
    """How near a deployment's answers are to the reference's; `limit` is how far `largest` may be off."""

    largest: Number
    limit: Number
    argmax: Annotated[float, Field(ge=0, le=1)] | None = Field(description="share of rows with the same best class")
    rows: Count
    within: bool


class Row(_Strict):
    """One deployment; what is null was not measured."""

    deployment: Name
    backend: Name
    runtime: Name
    digest: Name
    state: Literal["measured", "not ready", "failed"]
    why: Text = Field(description="why it is not ready, or what failed")
    problems: Texts = Field(description="what keeps it from being recommended")
    marks: Texts = Field(description="why to mistrust its figures")
    load_s: Amount | None
    artifact_bytes: Count | None
    rss_bytes: Count | None = Field(description="of its processes")
    server_rss_bytes: Count | None = Field(description="of the server that they need")
    sharing: Count = Field(description="deployments in its process or server")
    alone_p50_ms: Estimate | None
    alone_p99_ms: Estimate | None
    p50_ms: Estimate | None = Field(description="at the rate")
    p99_ms: Estimate | None = Field(description="at the rate")
    errors: Annotated[float, Field(ge=0, le=1)] | None = Field(description="share of requests at the rate")
    highest_rate: Estimate | None = Field(description="requests a second that keep p99 under the target")
    cpu_ms: Estimate | None = Field(description="CPU time of gateway and backend for one request")
    cost: Estimate | None = Field(description="of a million requests")
    accuracy: Estimate | None
    agreement: Agreement | None


class Recommendation(_Strict):
    """Which deployment should serve; several where it is undecided between them."""

    kind: Literal["recommended", "undecided", "alone", "none"]
    deployments: Annotated[tuple[Name, ...], Field(max_length=64)]
    reason: Text
    against: Texts


class Where(_Strict):
    """The machine that it was measured on."""

    name: Name
    cpu: Name
    cores: Count
    memory_bytes: Count
    system: Name


class Settings(_Strict):
    """What was asked for, and what was chosen where nothing was."""

    latency_target_ms: Amount | None
    target_given: bool
    rate: Amount | None
    rate_given: bool
    price_per_core_hour: Amount
    cost_by: Literal["cpu", "rate", ""]
    dialect: Name
    payload: Name
    rounds: Count
    seconds: Amount


class Verdict(_Strict):
    """All of it."""

    schema_: Literal[1] = Field(alias="schema")
    model: Name
    version: Annotated[int, Field(ge=1, lt=10**18)]
    made: datetime
    machine: Where
    settings: Settings
    reference: Name = Field(description="what answers were held against: golden outputs, or a deployment")
    accuracy_by: Literal["labels", "golden outputs", ""]
    rows: Annotated[tuple[Row, ...], Field(max_length=64)]
    recommendation: Recommendation
    marks: Texts

    @model_validator(mode="after")
    def _recommends_what_is_there(self) -> Self:
        if odd := set(self.recommendation.deployments) - {each.deployment for each in self.rows}:
            raise ValueError(f"recommendation.deployments: {sorted(odd)[0]!r} is none of the rows")
        return self


def read_verdict(body: bytes | str, model: str, version: int) -> Verdict:
    """A verdict on that version out of JSON.

    Raises:
        InvalidInput: it is none, or one on something else; names the fields.
    """
    try:
        verdict = Verdict.model_validate_json(body)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
        raise InvalidInput("; ".join(found[:_MISTAKES_SHOWN])[:600]) from None
    if (verdict.model, verdict.version) != (model, version):
        raise InvalidInput(f"body: expected a verdict on {model:.80}/{version}, got {verdict.model}/{verdict.version}")
    return verdict
