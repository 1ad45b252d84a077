"""What a load by name may bring along: files of a model, and settings in Triton's words. No disk is touched here."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import orjson

from adapters.errors import InvalidInput
from gateway.errors import RequestTooLarge

_log = logging.getLogger(__name__)

_CONFIG = "config"
_FILE = "file:"
_MAX_FILES = 1000
_MAX_CONFIG_CHARACTERS = 1 << 20
_MAX_INT = 2**31 - 1
_FILE_NAME = re.compile(r"([0-9]{1,18})((?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){1,4})")
_VERSION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Files by their path below the model's folder (`1/model.onnx`), and what stands in for keys of model.toml."""

    files: Mapping[PurePosixPath, bytes]
    max_rows: int | None = None
    versions: str | tuple[int, ...] | None = None


def asks_override(parameters: Mapping[str, object]) -> bool:
    """Whether there is anything among a load's parameters that `read_overrides` would take."""
    return any(key == _CONFIG or key.startswith(_FILE) for key in parameters)


def read_overrides(model: str, parameters: Mapping[str, object], max_bytes: int) -> Overrides:
    """The overrides among a load's parameters: `config` (JSON) and `file:<version>/<name>` (base64, or bytes).

    Other parameters count for nothing.

    Raises:
        InvalidInput: names the key, what was expected and what was got.
        RequestTooLarge: the files hold more than `max_bytes` together.
    """
    max_rows, versions = _read_config(model, parameters[_CONFIG]) if _CONFIG in parameters else (None, None)
    return Overrides(_read_files(parameters, max_bytes), max_rows, versions)


def _read_files(parameters: Mapping[str, object], max_bytes: int) -> dict[PurePosixPath, bytes]:
    named = {key: value for key, value in parameters.items() if key.startswith(_FILE)}
    if len(named) > _MAX_FILES:
        raise InvalidInput(f"parameters: expected at most {_MAX_FILES} files, got {len(named)}")
    files: dict[PurePosixPath, bytes] = {}
    total = 0
    for key, value in named.items():
        path = _path(key)
        if path in files:
            raise InvalidInput(f"{key!r:.80}: {path} is there twice")
        files[path] = _content(key, value)
        total += len(files[path])
        if total > max_bytes:
            raise RequestTooLarge(f"parameters: expected files of at most {max_bytes} bytes together, got more")
    for path in files:
        if folder := next((each for each in path.parents if each in files), None):
            raise InvalidInput(f"'{_FILE}{folder}': expected a file or a folder, got both")
    return files


def _path(key: str) -> PurePosixPath:
    match = _FILE_NAME.fullmatch(key.removeprefix(_FILE))
    if not match or not int(match[1]):
        raise InvalidInput(
            f"{key!r:.80}: expected {_FILE}VERSION/NAME, as in {_FILE}1/model.onnx: a positive number, then 1 to 4 "
            "names of letters, digits, . _ -, none of which begins with . or -"
        )
    return PurePosixPath(str(int(match[1])) + match[2])


def _content(key: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidInput(f"{key!r:.80}: expected base64 as a string, got {_kind(value)}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{key!r:.80}: expected base64: {error}") from None


def _read_config(model: str, value: object) -> tuple[int | None, str | tuple[int, ...] | None]:
    if not isinstance(value, str):
        raise InvalidInput(f"config: expected JSON as a string, got {_kind(value)}")
    if len(value) > _MAX_CONFIG_CHARACTERS:
        raise InvalidInput(f"config: expected at most {_MAX_CONFIG_CHARACTERS} characters, got {len(value)}")
    try:
        config = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"config: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise InvalidInput(f"config: expected an object, got {_kind(config)}")
    name = config.pop("name", "")
    if name not in ("", model):
        raise InvalidInput(f"config.name: expected '{model}', which is to be loaded, got {name!r:.80}")
    max_rows = _max_rows(config.pop("max_batch_size", 0))
    versions = _versions(config.pop("version_policy", None))
    if config:
        _log.info("load of %s: config: without effect here: %s", model, ", ".join(f"{key:.40}" for key in config))
    return max_rows, versions


def _max_rows(size: object) -> int | None:
    if type(size) is not int or not 0 <= size <= _MAX_INT:
        raise InvalidInput(f"config.max_batch_size: expected an integer from 0 to {_MAX_INT}, got {_kind(size)}")
    return size or None


def _versions(policy: object) -> str | tuple[int, ...] | None:
    if policy is None:
        return None
    where = "config.version_policy"
    if not isinstance(policy, dict) or len(policy) != 1 or not isinstance(next(iter(policy.values())), dict):
        raise InvalidInput(f"{where}: expected an object with one of latest, all, specific, got {_kind(policy)}")
    ((kind, settings),) = policy.items()
    match kind:
        case "all":
            return "all"
        case "latest":
            return f"latest:{_latest(settings)}"
        case "specific":
            return _specific(settings)
    raise InvalidInput(f"{where}: expected one of latest, all, specific, got {kind!r:.80}")


def _latest(settings: Mapping[str, Any]) -> int:
    number = settings.get("num_versions", 1)
    if type(number) is not int or not 0 <= number < 10**6:
        raise InvalidInput(
            f"config.version_policy.latest.num_versions: expected an integer from 1 to 999999, got {_kind(number)}"
        )
    return number or 1


def _specific(settings: Mapping[str, Any]) -> tuple[int, ...]:
    where = "config.version_policy.specific.versions"
    versions = settings.get("versions")
    if not isinstance(versions, list):
        raise InvalidInput(f"{where}: expected a list of positive integers, got {_kind(versions)}")
    # What writes messages as JSON writes 64 bits as a string.
    numbers = tuple(int(each) if isinstance(each, str) and _VERSION.fullmatch(each) else each for each in versions)
    for number in numbers:
        if type(number) is not int or not 0 < number < 10**18:
            raise InvalidInput(f"{where}: expected positive integers, got {_kind(number)}")
    return numbers


def _kind(value: object) -> str:
    """What a value is, for an error's text."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "an object with " + (", ".join(f"{key!r:.40}" for key in list(value)[:5]) or "no keys")
        case list():
            return "a list"
    return f"{value!r:.60}"
