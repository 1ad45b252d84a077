"""What people write on the command line, as values: durations, shares, stages, versions of models. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from adapters.errors import InvalidInput
from gateway.edge.roles import DEFAULTS, RoleName, Terms, role_name
from gateway.types import MODEL_NAME

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")
_PERCENT: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_THRESHOLD: Final = re.compile(r"([a-z]+)=([0-9]{1,2})/([0-9]{1,2})")


def duration(text: str, what: str) -> timedelta:
    """A time as 30s, 10m, 1h or 7d; raises InvalidInput."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise InvalidInput(f"{what}: expected a time as 30s, 10m, 1h or 7d, got {text!r:.40}")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def share(text: str, what: str) -> float:
    """A share as 2%, from 0 to below 1; raises InvalidInput."""
    found = _SHARE.fullmatch(text.strip())
    if not found or float(found[1]) >= 100:
        raise InvalidInput(f"{what}: expected a share as 2%, below 100%, got {text!r:.40}")
    return float(found[1]) / 100


def percents(text: str) -> tuple[float, ...]:
    """Growing percents that end with 100, as 1,5,25,100; raises InvalidInput."""
    parts = [each.strip().removesuffix("%") for each in text.split(",")]
    if not all(_PERCENT.fullmatch(each) for each in parts):
        raise InvalidInput(f"--stages: expected growing percents that end with 100, as 1,5,25,100, got {text!r:.80}")
    found = [float(each) for each in parts]
    if found != sorted(set(found)) or found[0] <= 0 or found[-1] != 100:
        raise InvalidInput(f"--stages: expected growing percents that end with 100, as 1,5,25,100, got {text!r:.80}")
    return tuple(found)


def version_of_model(text: str) -> tuple[str, int]:
    """A version of a model, as digits/2; raises InvalidInput."""
    model, _, version = text.partition("/")
    if not MODEL_NAME.fullmatch(model) or not (version.isascii() and version.isdecimal()) or not 0 < len(version) < 19:
        raise InvalidInput(f"{text!r:.80}: expected MODEL/VERSION, as digits/2")
    if int(version) < 1:
        raise InvalidInput(f"{text!r:.80}: expected a version from 1 on")
    return model, int(version)


def terms(thresholds: Iterable[str], expires: Iterable[str]) -> dict[RoleName, Terms]:
    """The roles' terms by root=2/3 (two of three keys sign) and timestamp=1d; raises InvalidInput."""
    found = dict(DEFAULTS)
    for text in thresholds:
        match = _THRESHOLD.fullmatch(text)
        if not match:
            raise InvalidInput(f"--threshold: expected ROLE=SIGN/KEYS, as root=2/3, got {text!r:.40}")
        role = role_name(match[1])
        found[role] = replace(found[role], threshold=int(match[2]), keys=int(match[3]))
    for text in expires:
        name, equals, time = text.partition("=")
        if not equals:
            raise InvalidInput(f"--expires: expected ROLE=TIME, as timestamp=1d, got {text!r:.40}")
        role = role_name(name)
        found[role] = replace(found[role], expires=duration(time, f"--expires {name}"))
    return found
