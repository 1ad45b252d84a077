"""What a request's headers ask for: encodings, conditions, a range (RFC 9110). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

ENCODINGS: Final = ("zstd", "gzip")
"""Those that there may be, the best first."""

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Span(NamedTuple):
    """A part of a file, in bytes."""

    start: int
    length: int


class Unsatisfiable(Exception):
    """A range of which the file has nothing."""


def encoding(accepted: str, there: Collection[str]) -> str | None:
    """The best of the encodings that are there and that an Accept-Encoding takes; None for the file as it is."""
    takes = {name: quality for name, quality in map(_weighted, accepted.lower().split(",")) if name}
    wild = takes.get("*", 0.0)
    return next((each for each in ENCODINGS if each in there and takes.get(each, wild) > 0), None)


def _weighted(part: str) -> tuple[str, float]:
    name, _, parameter = part.partition(";")
    weight = parameter.strip().removeprefix("q=")
    try:
        return name.strip(), float(weight) if parameter else 1.0
    except ValueError:
        return name.strip(), 0.0


def names(condition: str | None, tag: str) -> bool:
    """Whether an If-None-Match names an entity tag, weakly compared."""
    if condition is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return "*" in tags or tag in tags


def allows(condition: str | None, tag: str) -> bool:
    """Whether an If-Match allows an answer, strongly compared."""
    return condition is None or condition.strip() == "*" or tag in [each.strip() for each in condition.split(",")]


def span(asked: str | None, if_range: str | None, tag: str, length: int) -> Span | None:
    """The part that a Range asks for; None for all of it, as for several parts, which a server need not give.

    Raises:
        Unsatisfiable: nothing of it is there.
    """
    if asked is None or (if_range is not None and if_range.strip() != tag):
        return None
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(length - int(last), 0), length
    else:
        start, end = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < start:
            return None  # not a range at all
    if start >= end:
        raise Unsatisfiable
    return Span(start, end - start)
