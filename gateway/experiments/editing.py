"""TOML that people wrote, changed by key: their comments and their order stay."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, TypeVar

import tomlkit

from gateway.config import MAX_CONFIG_BYTES, ConfigError

Document = TypeVar("Document", bound=MutableMapping[str, Any])

_NOT_TOML = (ValueError, RecursionError)  # nested without end, and numbers of thousands of digits, are neither


def parse(text: str, file: str) -> dict[str, Any]:
    """The text as plain data; raises ConfigError."""
    try:
        return tomllib.loads(text)
    except _NOT_TOML as error:
        raise ConfigError(f"{file}: not TOML: {error!s:.500}") from None


def dump(document: Mapping[str, Any], file: str) -> str:
    """A document as TOML; what is None is left out.

    Raises:
        ConfigError: TOML cannot hold it, or it is larger than what is read again.
    """
    plain = without_none(document)
    try:
        text = tomlkit.dumps(plain)
        same = _says(text, plain)
    except Exception:  # noqa: BLE001  (whatever the editor stumbles over: it cannot be written)
        same = False
    if not same:
        raise ConfigError(f"{file}: holds what TOML cannot: expected texts, finite numbers, times, lists and tables")
    return _of_size(text, file)


def edit(text: str, changes: Mapping[str, Any], file: str, whole: Collection[str] = ()) -> str:
    """The text with keys changed: tables are merged, but those named `whole` are replaced; None removes a key.

    Raises:
        ConfigError: the text is not TOML, or the result could not be, or is larger than what is read again.
    """
    wanted = merged(parse(text, file), changes, whole)
    try:
        document = tomlkit.parse(text)
        edited = tomlkit.dumps(merged(document, changes, whole))
        same = _says(edited, wanted)
    except Exception:  # noqa: BLE001  (TOML has forms that the editor cannot edit, and what is asked must be done)
        same = False
    return _of_size(edited, file) if same else dump(wanted, file)


def without_none(value: Any) -> Any:
    """A copy in dicts and lists, without what is None."""
    if isinstance(value, Mapping):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [without_none(each) for each in value]
    return value


def merged(document: Document, changes: Mapping[str, Any], whole: Collection[str] = ()) -> Document:
    """The document itself, changed as `edit` says."""
    for key, value in changes.items():
        there = document.get(key)
        if value is None:
            document.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(there, MutableMapping) and key not in whole:
            merged(there, value)
        else:
            document[key] = without_none(value)
    return document


def _says(text: str, document: Mapping[str, Any]) -> bool:
    return tomllib.loads(text.encode().decode()) == document  # half a surrogate pair cannot be encoded


def _of_size(text: str, file: str) -> str:
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file}: expected at most {MAX_CONFIG_BYTES} bytes, and it would be larger")
    return text
