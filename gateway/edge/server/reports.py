"""What devices report: read strictly, each report by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from adapters.errors import InvalidInput

MOST_REPORTS: Final = 1000
MOST_BYTES: Final = 1 << 20

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
_Id = Annotated[str, Meta(min_length=1, max_length=128)]
_Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device says of a bundle: `target` is the bundle's path in the signed list, `id` the device's own choice.

    `at` is the device's clock, and nothing depends on it.
    """

    id: _Id
    model: _Name
    version: Annotated[int, Meta(ge=1, lt=10**18)]
    target: Annotated[str, Meta(min_length=1, max_length=300)]
    kind: Literal["installed", "self_check", "latency", "failed"]
    passed: bool | None = None
    latency_ms: Annotated[list[_Milliseconds], Meta(max_length=1000)] = []
    detail: Annotated[str, Meta(max_length=1000)] = ""
    at: float | datetime | None = None
    channel: _Name | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    reports: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_REPORTS)]


class Refusal(msgspec.Struct, frozen=True):
    """Which report was not taken, counted from 0, and why."""

    index: int
    error: str


def split(body: bytes) -> list[msgspec.Raw]:
    """The reports of a body, unread; raises InvalidInput where it is none."""
    try:
        return msgspec.json.decode(body, type=_Body).reports
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f'body: expected {{"reports": [1 to {MOST_REPORTS} objects]}}: {error}') from None


def read(raw: msgspec.Raw) -> Report:
    """One report; raises InvalidInput, which names the field."""
    try:
        report = msgspec.json.decode(raw, type=Report)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(str(error)) from None
    if report.kind == "self_check" and report.passed is None:
        raise InvalidInput("passed: expected true or false with kind self_check, got nothing")
    if report.kind == "failed" and report.passed:
        raise InvalidInput("passed: expected false or nothing with kind failed, got true")
    if report.kind == "latency" and not report.latency_ms:
        raise InvalidInput("latency_ms: expected one number at least with kind latency, got none")
    return report


def passed(report: Report) -> bool:
    """Whether it speaks well of its version."""
    return report.kind != "failed" if report.passed is None else report.passed
