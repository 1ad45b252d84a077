"""An experiment's file: read, made anew, and changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from adapters.errors import InvalidInput
from gateway.config import ConfigError, explain
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.editing import dump, edit, merged, parse, without_none
from gateway.experiments.form import KEPT, ExperimentForm
from gateway.experiments.pins import write_pin
from gateway.experiments.rules import mistakes

FOLDER: Final = "experiments"
"""Where they are, in a model's folder."""

_WHOLE = ("current",)
_TIMES = ("start", "stop")
_LONGEST = 4000
_SHOWN = 16


def read_experiment(text: str, model: str, name: str, file: str) -> Definition:
    """Parse the text of an experiment's file; `file` is how errors call it.

    Raises:
        ConfigError: names file, key, what was expected and what was found.
    """
    return _read(parse(text, file), model, name, file)


def write_experiment(text: str, changes: Mapping[str, Any], file: str) -> str:
    """The text with keys changed: tables are merged, but [current] is replaced; None removes a key.

    What people wrote around them stays. Whether the result is a right file is not looked at.

    Raises:
        ConfigError: the text is not TOML, or the result could not be, or would be too large to be read again.
    """
    return edit(text, changes, file, _WHOLE)


def new_experiment(document: Mapping[str, Any], model: str, name: str) -> str:
    """The text of a new experiment's file. `document` is of its shape; null is "not given", times are RFC 3339.

    Raises:
        InvalidInput: names key, what was expected and what was found.
    """
    try:
        plain = _with_times(without_none(document))
        if plain.get("state") == Standing.DRAFT:
            del plain["state"]
        _refuse_kept(plain, name)
        _read(plain, model, name, name)
        return dump(plain, name)
    except ConfigError as error:
        raise InvalidInput(str(error)) from None
    except RecursionError:
        raise InvalidInput(f"{name:.80}: nested too deeply") from None


def change_experiment(text: str, changes: Mapping[str, Any], model: str, name: str) -> str:
    """The text with a caller's changes: of the file's shape, null removes a key, and `weights` is {variant: percent}.

    Raises:
        InvalidInput: a change, or what it leads to, is not of its form.
        ConfigError: the text was wrong before.
    """
    before = read_experiment(text, model, name, f"{model}/{FOLDER}/{name}.toml")
    try:
        wanted = _with_weights(_with_times(changes), before)
        _refuse_kept(wanted, name)
        _read(merged(parse(text, name), wanted), model, name, name)  # which names the key, where writing could not
        return write_experiment(text, wanted, name)
    except ConfigError as error:
        raise InvalidInput(str(error)) from None
    except RecursionError:
        raise InvalidInput(f"{name}: nested too deeply") from None


def kept(definition: Definition) -> dict[str, Any]:
    """The part of a definition that Torii keeps, as changes for `write_experiment`."""
    current = definition.current
    return {
        "state": definition.state.value,
        "run": definition.run or None,
        "started": definition.started,
        "ended": definition.ended,
        "reason": definition.reason or None,
        "winner": definition.winner or None,
        "current": current and without_none(msgspec.to_builtins(current, builtin_types=(datetime,))),
    }


def describe(definition: Definition) -> dict[str, Any]:
    """A definition in the file's shape, with all defaults, for JSON: times are texts, and nothing is null.

    Without the keys that Torii keeps it is a document for `new_experiment`.
    """
    plain = without_none(msgspec.to_builtins(definition))
    document = {key: value for key, value in plain.items() if key not in ("model", "name", "where")}
    document["variants"] = {
        each.name: {"target": write_pin(each.target), "weight": each.weight} for each in definition.variants
    }
    document["filter"] = plain["where"]
    document["metrics"] = {each["name"]: _metric(each) for each in plain["metrics"]}
    guardrails = msgspec.structs.asdict(definition.guardrails)
    document["guardrails"] = {key: False if value is None else value for key, value in guardrails.items()}
    if definition.shadow:
        document["shadow"]["target"] = write_pin(definition.shadow.target)
    return document


def _metric(plain: Mapping[str, Any]) -> dict[str, Any]:
    dropped = ("name",) if plain["kind"] == "quantile" else ("name", "quantile")
    return {key: value for key, value in plain.items() if key not in dropped}


def _read(document: Mapping[str, Any], model: str, name: str, file: str) -> Definition:
    try:
        form = ExperimentForm.model_validate(document, context=model)
    except ValidationError as error:
        raise ConfigError(explain(file, error)[:_LONGEST]) from None
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply") from None
    definition = form.definition(model, name)
    if found := [f"{file}: {each}" for each in mistakes(definition)]:
        raise ConfigError("; ".join(found)[:_LONGEST])
    return definition


def _refuse_kept(document: Mapping[str, Any], name: str) -> None:
    for key in KEPT:
        if key in document:
            raise ConfigError(f"{name}: {key}: Torii keeps this key; it changes by start, stop and promote")


def _with_times(document: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no times: those at the top, out of text. What is none is left for the form to name."""
    plain = dict(document)
    for key in _TIMES:
        if isinstance(plain.get(key), str):
            try:
                plain[key] = datetime.fromisoformat(plain[key])
            except ValueError:
                continue
    return plain


def _with_weights(changes: dict[str, Any], before: Definition) -> dict[str, Any]:
    """The changes with `weights` where the file has them."""
    if "weights" not in changes:
        return changes
    weights, variants = changes.pop("weights"), changes.get("variants") or {}
    if not isinstance(weights, Mapping) or not isinstance(variants, Mapping):
        raise ConfigError(f'{before.name}: weights: expected percentages by variant, as in {{"a": 90, "b": 10}}')
    spread = dict(variants)
    names = [*(each.name for each in before.variants), *variants]
    for variant, weight in weights.items():
        if variant not in names:
            there = ", ".join(names[:_SHOWN])
            raise ConfigError(f"{before.name}: weights: expected variants of {there:.500}, found {variant!r:.80}")
        changed = spread.get(variant) or {}
        if isinstance(changed, Mapping):
            spread[variant] = {**changed, "weight": weight}
    return {**changes, "variants": spread}
