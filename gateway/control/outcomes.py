"""Reported outcomes as JSON: counted before they are parsed, and each looked at by itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from adapters.errors import InvalidInput
from gateway.errors import RequestTooLarge
from gateway.experiments.report import Outcome, Receipt, Refused
from gateway.types import MODEL_NAME

MOST: Final = 10_000
"""Outcomes in one body."""

MAX_BYTES: Final = 4 << 20

_KEYS = Outcome.__struct_fields__
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LONGEST_UNIT = 1000
_LONGEST_KEY = 200


class Batch(msgspec.Struct, frozen=True):
    """What a body holds: outcomes of the right form with their places, and what is not; `single`: it is no list."""

    places: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    refused: tuple[Refused, ...]
    single: bool

    def receipt(self, receipt: Receipt) -> Receipt:
        """What became of all, where `receipt` says what became of `outcomes`."""
        theirs = [Refused(self.places[each.index], each.error) for each in receipt.refused]
        refused = sorted([*self.refused, *theirs], key=lambda each: each.index)
        return msgspec.structs.replace(receipt, refused=tuple(refused))


def read_outcomes(body: bytes) -> Batch:
    """A body of one outcome, of a list of them, or of {"outcomes": [...]}.

    Raises:
        RequestTooLarge: it holds more than MOST, as can be told before it is parsed.
        InvalidInput: it is no JSON, or neither of the three.
    """
    _check_count(body)
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"body: not JSON: {error!s:.200}") from None
    single = isinstance(document, dict) and "outcomes" not in document
    items = [document] if single else _listed(document)
    if len(items) > MOST:
        raise _too_many()
    return _batch(items, single)


def _check_count(body: bytes) -> None:
    """Refuse by the braces and commas that are not in texts."""
    if _counts(body) and _counts(_STRING.sub(b"", body)):
        raise _too_many()


def _counts(body: bytes) -> bool:
    return body.count(b"{") > MOST + 1 or body.count(b",") > MOST * (len(_KEYS) + 1)


def _too_many() -> RequestTooLarge:
    return RequestTooLarge(f"outcomes: expected at most {MOST} in one body, got more; send several")


def _listed(document: Any) -> list[Any]:
    if isinstance(document, dict):
        if unknown := document.keys() - {"outcomes"}:
            raise InvalidInput(f"body: beside 'outcomes', expected no other key, got {min(unknown)!r:.80}")
        document = document["outcomes"]
    if not isinstance(document, list):
        raise InvalidInput('body: expected an outcome, a list of them, or {"outcomes": [...]}')
    return document


def _batch(items: Sequence[Any], single: bool) -> Batch:
    places: list[int] = []
    outcomes: list[Outcome] = []
    refused: list[Refused] = []
    for index, item in enumerate(items):
        try:
            outcomes.append(_outcome(item))
            places.append(index)
        except ValueError as error:
            refused.append(Refused(index, str(error)))
    return Batch(tuple(places), tuple(outcomes), tuple(refused), single)


def _outcome(item: Any) -> Outcome:
    if not isinstance(item, dict):
        raise ValueError('expected an object, as {"request": "…", "metric": "correct", "value": 1}')
    if unknown := [key for key in item if key not in _KEYS]:
        raise ValueError(f"{unknown[0]!r:.80}: unknown; an outcome has {', '.join(_KEYS)}")
    metric = item.get("metric")
    if not isinstance(metric, str) or not MODEL_NAME.fullmatch(metric):
        raise ValueError(f"metric: expected a name of a-z 0-9 . _ - (64 at most), got {metric!r:.80}")
    request, experiment, unit = (_text(item, key, _LONGEST_UNIT) for key in ("request", "experiment", "unit"))
    if (request is None) == (experiment is None) or (experiment is None) != (unit is None):
        raise ValueError("expected either request (torii-request-id of an answer), or experiment (MODEL/NAME) and unit")
    return Outcome(
        metric=metric,
        value=_value(item.get("value")),
        request=request,
        experiment=experiment,
        unit=unit,
        key=_text(item, "key", _LONGEST_KEY),
        at=_at(item.get("at")),
    )


def _text(item: dict[str, Any], key: str, most: int) -> str | None:
    text = item.get(key)
    if text is not None and not (isinstance(text, str) and 0 < len(text) <= most):
        raise ValueError(f"{key}: expected a text of 1 to {most} characters, got {text!r:.80}")
    return text


def _value(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"value: expected a finite number, or true or false, got {value!r:.80}")
    return number


def _at(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"at: expected a time with its offset from UTC, as 2026-12-01T09:00:00Z, got {value!r:.80}")
    return moment
