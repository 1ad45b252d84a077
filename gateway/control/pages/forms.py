"""Forms as browsers send them: their fields, and how what was wrong comes back with what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from adapters.errors import InvalidInput, ServingError
from gateway.control.body import read_body
from gateway.errors import VersionNotReady
from gateway.protocols.open_inference import STATUS

_MAX_BODY_BYTES: Final = 4 << 20
_MAX_FIELDS: Final = 500
_TYPE: Final = "application/x-www-form-urlencoded"
_NOBODY: Final = "pages"


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent, and what was wrong with it. `act` tells the forms of one page apart."""

    act: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    def kept(self, act: str, name: str, default: object = "") -> str:
        """A field's value: as it was typed, where this form was sent and refused."""
        return self.fields.get(name, "") if self.wrong(act) else str(default)

    def wrong(self, act: str) -> str:
        """What was wrong with a form; empty where it was not sent, or nothing was."""
        return self.error if act == self.act else ""

    @property
    def who(self) -> str:
        """Who sends it, by their own word, for the record."""
        return self.fields.get("who", "").strip()[:80] or _NOBODY

    def text(self, name: str) -> str:
        """A field without the space around it; empty where it is missing."""
        return self.fields.get(name, "").strip()

    def refused(self, error: ServingError) -> Form:
        """The same, with what was wrong."""
        return Form(self.act, self.fields, str(error))


NO_FORM: Final = Form()


async def read_form(request: Request) -> Form:
    """The form in a request's body.

    Raises:
        InvalidInput: it is no form, or has too many fields.
        RequestTooLarge: it is too long.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != _TYPE:
        raise InvalidInput(f"content-type: expected {_TYPE}, got {kind!r:.80}")
    body = await read_body(request, _MAX_BODY_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        raise InvalidInput(f"body: expected a form of at most {_MAX_FIELDS} fields") from None
    fields = dict(pairs)
    return Form(fields.get("act", ""), fields)


def weight(name: str, text: str) -> float:
    """A share in percent as it was typed; raises InvalidInput."""
    try:
        value = float(text.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InvalidInput(f"weight of {name:.80}: expected a number from 0 to 100, got {text!r:.40}")
    return value


def status_of(error: ServingError) -> int:
    """HTTP's status of a refusal; what is not ready is a conflict here, as in the control API."""
    return 409 if isinstance(error, VersionNotReady) else STATUS[type(error)]
