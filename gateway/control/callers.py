"""Who asks for a change, for the record."""

from __future__ import annotations

from fastapi import Request

from adapters.errors import InvalidInput

_WHO = "torii-who"
_LONGEST_WHO = 100


def who_asks(request: Request) -> str:
    """The header torii-who, else where the request came from; raises InvalidInput."""
    given = request.headers.get(_WHO)
    if given is None:
        return f"control API from {request.client.host if request.client else 'this machine'}"
    try:
        given = given.encode("latin-1").decode()
    except ValueError:
        given = ""
    if not given or len(given) > _LONGEST_WHO or not given.isprintable():
        raise InvalidInput(f"{_WHO}: expected 1 to {_LONGEST_WHO} printable characters")
    return given
