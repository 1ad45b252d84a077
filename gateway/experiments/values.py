"""What single keys of an experiment's file may hold."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo

from gateway.experiments.pins import read_pin
from gateway.types import MODEL_NAME, Target

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_UNIT = re.compile(r"(header|cookie|parameter):(.+)")


class Form(BaseModel):
    """A table of the file: unknown keys are mistakes, and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _name(value: str) -> str:
    if not MODEL_NAME.fullmatch(value):
        raise ValueError("expected a name of a-z 0-9 . _ - (64 at most, beginning with a letter or digit)")
    return value


def _target(value: object, info: ValidationInfo) -> Target:
    return read_pin(value, str(info.context))


def _moment(value: object) -> datetime:
    if isinstance(value, str):  # JSON has no times
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("expected a time with its offset from UTC, as in 2026-12-01T09:00:00Z")
    return value


def _unit(value: object) -> str:
    match = _UNIT.fullmatch(value) if isinstance(value, str) else None
    if not match or not (_TOKEN.fullmatch(match[2]) if match[1] != "parameter" else _plain(match[2], 100)):
        raise ValueError("expected header:NAME, parameter:NAME or cookie:NAME")
    return f"header:{match[2].lower()}" if match[1] == "header" else match[0]


def _header(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError("expected a header's name: letters, digits and -, 100 at most")
    return value.lower()


def _parameter(value: object) -> object:
    number = type(value) in (bool, int) or (type(value) is float and abs(value) < float("inf"))
    if not number and not (isinstance(value, str) and len(value) <= 1000):
        raise ValueError("expected a text of 1000 characters at most, a finite number, true or false")
    return value


def _plain(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable()


def _limit(value: object) -> object:
    return None if value is False else value


Name = Annotated[str, AfterValidator(_name)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Moment = Annotated[datetime, PlainValidator(_moment)]
Pin = Annotated[Target, PlainValidator(_target)]
Seconds = Annotated[float, Field(ge=0, le=10**8, allow_inf_nan=False)]
Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Share = Annotated[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, BeforeValidator(_limit)]
Over = Annotated[Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)] | None, BeforeValidator(_limit)]
Whole = Annotated[int, Field(ge=0, lt=10**15)]
HeaderName = Annotated[str, AfterValidator(_header)]
ParameterValue = Annotated[str | int | float | bool, PlainValidator(_parameter)]
UnitSource = Annotated[str, PlainValidator(_unit)]
Text = Annotated[str, Field(max_length=10_000)]
Line = Annotated[str, Field(max_length=200)]
