"""Asks a running gateway over HTTP; whatever goes wrong ends the command with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import httpx
import typer

from gateway.terminal.screen import fail, plain

Control: TypeAlias = Annotated[str, typer.Option(envvar="TORII_CONTROL", help="The control API")]
CONTROL = "http://127.0.0.1:8002"

_TIMEOUT_S = 60.0


def get(url: str, what: str, option: str) -> Any:
    """The JSON that is answered; `what` is asked there, and `option` says where."""
    return request("GET", url, what, option).json()


def ask_control(method: str, url: str, body: object = None, headers: Mapping[str, str | bytes] | None = None) -> Any:
    """The JSON that the control API answers; None where it answers nothing."""
    response = request(method, url, "the control API", "--control", body, headers)
    return response.json() if response.content else None


def request(
    method: str,
    url: str,
    what: str,
    option: str,
    body: object = None,
    headers: Mapping[str, str | bytes] | None = None,
) -> httpx.Response:
    """An answer that is no error."""
    try:
        response = httpx.request(method, url, json=body, headers=headers, timeout=_TIMEOUT_S)  # type: ignore[arg-type]
    except httpx.HTTPError as error:
        fail(f"{what} does not answer at {url} ({error}). Is `torii serve` running? {option} says where.")
    except httpx.InvalidURL as error:
        fail(f"{option}: {plain(str(error))}")
    except ValueError:
        fail('the file holds NaN or an infinity: give a JSON request with "NaN" and the parameter non_finite "string"')
    if response.is_error:
        try:
            text = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = response.text[:500]
        fail(f"{response.status_code} {plain(text)}")
    return response
