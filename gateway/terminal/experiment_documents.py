"""What the command line's words say of an experiment, as a document for the control API."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any


class Unclear(Exception):
    """A word of the command line is not of its form; the text says what was expected."""


_VARIANT = re.compile(r"([^=:]+)=([^=:]+)(?::([0-9.]+))?")


def read_file(file: Path) -> dict[str, Any]:
    """The document in a TOML (or .json) file; raises Unclear."""
    try:
        text = file.read_text(encoding="utf-8")
        document = _timeless(json.loads(text) if file.suffix == ".json" else tomllib.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        raise Unclear(f"{file}: {error}") from None
    if not isinstance(document, dict):
        raise Unclear(f"{file}: expected an object")
    return document


def variants(words: Sequence[str]) -> dict[str, Any]:
    """`tf=digits/1@tfserving:50`, …; without weights, all the same."""
    found: dict[str, Any] = {}
    for word in words:
        match = _VARIANT.fullmatch(word)
        if not match or match[1] in found:
            raise Unclear(
                f"--variant {word}: expected NAME=TARGET:PERCENT, as tf=digits/1@tfserving:50, each name once"
            )
        found[match[1]] = {"target": match[2]} | ({"weight": number(match[3], "--variant")} if match[3] else {})
    if not any("weight" in each for each in found.values()):
        for each in found.values():
            each["weight"] = 100 / len(found)
    return found


def metrics(words: Sequence[str]) -> dict[str, Any]:
    """`correct:binary:higher:0.01`, …; what is left out at the end has its default."""
    found: dict[str, Any] = {}
    for word in words:
        name, *rest = word.split(":")
        if not name or not rest or len(rest) > 3:
            raise Unclear(f"--metric {word}: expected NAME:KIND[:lower|higher[:MARGIN]], as correct:binary:higher:0.01")
        found[name] = dict(zip(("kind", "better"), rest, strict=False))
        if len(rest) == 3:
            found[name]["margin"] = number(rest[2], "--metric")
    return found


def ramp(word: str) -> dict[str, Any]:
    """`1,5,25,50`."""
    return {"steps": [number(each, "--ramp") for each in word.split(",")]}


def policy(word: str) -> dict[str, Any]:
    """`thompson:correct`."""
    kind, colon, metric = word.partition(":")
    if not colon:
        raise Unclear(f"--policy {word}: expected thompson:METRIC or exp3:METRIC")
    return {"kind": kind, "metric": metric}


def shadow(word: str) -> dict[str, Any]:
    """`digits/2@onnxruntime:10`, the percent of the requests that are copied; 100 without it."""
    target, colon, percent = word.partition(":")
    return {"target": target} | ({"percent": number(percent, "--shadow")} if colon else {})


def weights(words: Sequence[str]) -> dict[str, float]:
    """`tf=90`, `onnx=10`."""
    found: dict[str, float] = {}
    for word in words:
        name, equals, percent = word.partition("=")
        if not equals or not name or name in found:
            raise Unclear(f"{word}: expected VARIANT=PERCENT, as tf=90, each variant once")
        found[name] = number(percent, word)
    return found


def keys(words: Sequence[str], dropped: Sequence[str] = ()) -> dict[str, Any]:
    """`guardrails.p99_ratio=2.0` as TOML has it, and names of keys that are to go."""
    found: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            add(found, _timeless(tomllib.loads(f"{key} = {value}")))
        except (ValueError, RecursionError):
            raise Unclear(f"--key {word}: expected KEY=VALUE as in the file, as guardrails.p99_ratio=2.0") from None
    for key in dropped:
        change: Any = None
        for part in reversed(key.split(".")):
            change = {part: change}
        add(found, change)
    return found


def add(document: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put `more` over a document: tables are merged."""
    for key, value in more.items():
        there = document.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            add(there, value)
        else:
            document[key] = value


def number(text: str, what: str) -> float:
    """A number, whole ones without a point; raises Unclear."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unclear(f"{what}: expected a number, got {text!r:.40}")
    return int(value) if value.is_integer() else value


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected finite numbers, found {value}")
    return value.isoformat() if isinstance(value, date | time) else value
