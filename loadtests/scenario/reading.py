"""From a scenario's file to the scenario; what is wrong with it is told with file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from loadtests.scenario.base import Base
from loadtests.scenario.kinds import KINDS, Scenario

FOLDER: Final = Path(__file__).parents[1] / "scenarios"


class BadScenario(Exception):
    """A scenario cannot be used; the text names file, key, what was expected and what was found."""


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


def _explained(file: Path, error: Any, kind: type[Base]) -> str:
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
