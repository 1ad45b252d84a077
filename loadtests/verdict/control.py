"""What the control API has to tell for a verdict, and where the verdict goes."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import quote

from loadtests.gateways import Gateway, NoGateway
from loadtests.verdict.document import Verdict, encode

_ASK_S: Final = 60.0
_MOST_BYTES: Final = 64 << 20


class NoVersion(Exception):
    """There is no such model or version; the text says what there is."""


class Refused(Exception):
    """The control API did not do it; the text says why."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def deployments(gateway: Gateway, model: str, version: int | None) -> tuple[int, list[dict[str, Any]]]:
    """The deployments of a version, in any state; without a version, of the newest.

    Raises:
        NoVersion: there is none.
        NoGateway: nobody answers.
    """
    everything = gateway.status()["deployments"]
    of_model = [each for each in everything if each["model"] == model]
    if not of_model:
        there = ", ".join(sorted({each["model"] for each in everything})) or "none"
        raise NoVersion(f"there is no model '{model}' at {gateway.control}; there are: {there}")
    versions = sorted({each["version"] for each in of_model})
    version = versions[-1] if version is None else version
    if version not in versions:
        raise NoVersion(f"model '{model}' has no version {version}; there are: {', '.join(map(str, versions))}")
    return version, sorted(
        (each for each in of_model if each["version"] == version), key=lambda one: str(one["backend"])
    )


def golden(gateway: Gateway, model: str, version: int) -> bytes | None:
    """The version's golden file; None where it has none. Raises Refused, NoGateway."""
    try:
        return _ask(gateway, "GET", f"{_version(model, version)}/golden")
    except Refused as error:
        if error.status == 404:
            return None
        raise


def keep(gateway: Gateway, verdict: Verdict) -> None:
    """Have the gateway keep the verdict and show it. Raises Refused, NoGateway."""
    _ask(gateway, "PUT", f"{_version(verdict.model, verdict.version)}/verdict", encode(verdict))


def _version(model: str, version: int) -> str:
    return f"/v1/models/{quote(model, safe='')}/versions/{version}"


def _ask(gateway: Gateway, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"content-type": "application/json"} if body is not None else {}
    request = urllib.request.Request(gateway.control + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_ASK_S) as response:
            content: bytes = response.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise Refused(f"{method} {path}: {error.code}: {_said(error)}", error.code) from None
    except (OSError, ValueError) as error:
        raise NoGateway(f"the control API does not answer any more at {gateway.control}: {error}") from None
    if len(content) > _MOST_BYTES:
        raise Refused(f"{method} {path}: more than {_MOST_BYTES} bytes", 200)
    return content


def _said(error: urllib.error.HTTPError) -> str:
    text = error.read(500).decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(text).get("error", text))
    return text
